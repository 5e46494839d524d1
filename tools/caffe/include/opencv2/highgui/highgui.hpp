// Caffe includes highgui for imread, imdecode and imencode only, which OpenCV 3 moved to imgcodecs.
// Standing in for the real header keeps OpenCV's windows, and with them all of Qt, out of the build.
#include <opencv2/core.hpp>
#include <opencv2/imgcodecs.hpp>
