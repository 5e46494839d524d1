# sjft_caffe_layout ROOT: finds the parts of the Caffe in the folder ROOT; sourced by env.sh and the
# Makefile (any POSIX shell). Sets SJFT_CAFFE_BIN, the folder of the command `caffe`; SJFT_CAFFE_PYTHON,
# the folder that holds the Python package `caffe`; SJFT_CAFFE_LIB, the folder of its library if the loader
# must be told it, else ''. Says what is missing, status 1, if command or package are not there.

sjft_caffe_layout() {
    SJFT_CAFFE_BIN='' SJFT_CAFFE_PYTHON='' SJFT_CAFFE_LIB=''
    if [ ! -d "$1" ]; then
        echo "error: the folder '$1', which should hold Caffe, does not exist" >&2
        return 1
    fi
    set -- "$(cd "$1" && pwd)"
    if [ -x "$1/build/tools/caffe" ]; then
        # a source tree built with make or cmake, whose programs know their library
        SJFT_CAFFE_BIN=$1/build/tools
    elif [ -x "$1/bin/caffe" ]; then
        # installed under a prefix: ours, `make install`, or Debian's packages in /usr
        SJFT_CAFFE_BIN=$1/bin
        [ "$1" = /usr ] || [ ! -e "$1/lib/libcaffe.so" ] || SJFT_CAFFE_LIB=$1/lib
    else
        echo "error: the Caffe in '$1' has no caffe command (build/tools/caffe or bin/caffe)" >&2
        return 1
    fi
    if [ -e "$1/python/caffe/__init__.py" ]; then
        SJFT_CAFFE_PYTHON=$1/python
    elif [ -e "$1/lib/python3/dist-packages/caffe/__init__.py" ]; then
        SJFT_CAFFE_PYTHON=$1/lib/python3/dist-packages
    else
        echo "error: the Caffe in '$1' has no pycaffe (python/caffe or" \
            "lib/python3/dist-packages/caffe)" >&2
        return 1
    fi
}
