"""Nets and solvers as Caffe reads them, written by small functions; none of them needs Caffe."""
