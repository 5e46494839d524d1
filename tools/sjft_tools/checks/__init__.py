"""What ``sjft check`` looks at before training: this machine's Caffe, the nets, the data they name."""
