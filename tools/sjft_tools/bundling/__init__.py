"""`sjft bundle`: Caffe, Python and sjft in one folder, for a machine without network."""
