"""What netscope, the viewer of nets, can read and show: https://github.com/ethereon/netscope."""
