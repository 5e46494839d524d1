"""What ``sjft check`` tests before training: this machine's Caffe, the nets, their data."""
