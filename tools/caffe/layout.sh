# sjft_caffe_layout ROOT: finds the parts of the Caffe in the folder ROOT; sourced by env.sh (any POSIX
# shell). Sets SJFT_CAFFE_BIN, the folder of the command `caffe`; SJFT_CAFFE_PYTHON, the folder that holds
# the Python package `caffe`; SJFT_CAFFE_LIB, the folder of its library where the loader needs to be told.
# A part that is not there is left empty.

sjft_caffe_layout() {
    SJFT_CAFFE_BIN='' SJFT_CAFFE_PYTHON='' SJFT_CAFFE_LIB=''
    # source tree built by make or cmake; its build folder's programs know their library
    if [ -x "$1/build/tools/caffe" ]; then
        SJFT_CAFFE_BIN=$1/build/tools
    # installed under a prefix (ours, `make install`, a Debian package in /usr)
    elif [ -x "$1/bin/caffe" ]; then
        SJFT_CAFFE_BIN=$1/bin
        [ "$1" = /usr ] || [ ! -e "$1/lib/libcaffe.so" ] || SJFT_CAFFE_LIB=$1/lib
    fi
    for _sjft_python in "$1/python" "$1/lib/python3/dist-packages"; do
        if [ -e "$_sjft_python/caffe/__init__.py" ]; then
            SJFT_CAFFE_PYTHON=$_sjft_python
            break
        fi
    done
    unset _sjft_python
}
