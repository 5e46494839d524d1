// See highgui.hpp beside this file: Caffe uses none of the C interface of OpenCV's windows.
