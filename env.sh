# Usage: . ./env.sh        (bash, zsh; a plain sh in the checkout's folder)
# Puts on this shell's paths: `caffe`, pycaffe, build/venv with `sjft`, and python_layers/, both for Python
# and for the interpreter inside `caffe train`. CAFFE_ROOT=/some/caffe takes that Caffe instead of the one
# that `make caffe` built. Sourcing it again changes nothing.

# _sjft_prepend VARIABLE DIR: puts DIR at the front of the list VARIABLE; nowhere else does it stay there.
_sjft_prepend() {
    eval "_sjft_list=\${$1:-}"
    _sjft_list=$(printf '%s\n' "$_sjft_list" | tr ':' '\n' |
        { grep -vxF -e "$2" -e '' || :; } | tr '\n' ':')
    _sjft_list=$2${_sjft_list:+:}${_sjft_list%:}
    eval "export $1=\$_sjft_list"
}

# _sjft_env CHECKOUT: status 1, one sentence and no path changed when something is missing.
_sjft_env() {
    . "$1/tools/caffe/layout.sh"
    _sjft_root=${CAFFE_ROOT:-$(cat "$1/build/caffe-root" 2>/dev/null)}
    if [ ! -x "$1/build/venv/bin/python" ] || [ -z "$_sjft_root" ]; then
        echo "env.sh: error: this checkout is not set up yet; run 'make caffe' in $1 first" >&2
        return 1
    fi
    sjft_caffe_layout "$_sjft_root"
    if [ -z "$SJFT_CAFFE_BIN" ] || [ -z "$SJFT_CAFFE_PYTHON" ]; then
        if [ -z "${CAFFE_ROOT:-}" ]; then
            echo "env.sh: error: $_sjft_root is gone; run 'make caffe' in $1 again" >&2
        elif [ -z "$SJFT_CAFFE_BIN" ]; then
            echo "env.sh: error: CAFFE_ROOT=$CAFFE_ROOT has no caffe command" \
                "(build/tools/caffe or bin/caffe)" >&2
        else
            echo "env.sh: error: CAFFE_ROOT=$CAFFE_ROOT has no pycaffe" \
                "(python/caffe or lib/python3/dist-packages/caffe)" >&2
        fi
        return 1
    fi
    for _sjft_dir in "$1"/build/venv/lib/python3*/site-packages; do
        # Behind the venv's packages: Debian's dist-packages holds older versions of them as well.
        _sjft_prepend PYTHONPATH "$SJFT_CAFFE_PYTHON"
        _sjft_prepend PYTHONPATH "$_sjft_dir"
    done
    _sjft_prepend PYTHONPATH "$1/python_layers"
    _sjft_prepend PATH "$SJFT_CAFFE_BIN"
    _sjft_prepend PATH "$1/build/venv/bin"
    if [ -n "${CAFFE_ROOT:-}" ] && [ -n "$SJFT_CAFFE_LIB" ]; then
        _sjft_prepend LD_LIBRARY_PATH "$SJFT_CAFFE_LIB"
    fi
}

if [ -n "${BASH_SOURCE:-}" ]; then
    _sjft_here=$(cd "$(dirname "${BASH_SOURCE:-}")" && pwd)
elif [ -n "${ZSH_VERSION:-}" ]; then
    _sjft_here=$(eval 'cd "$(dirname "${(%):-%x}")" && pwd')
else
    _sjft_here=$PWD
fi
_sjft_env "$_sjft_here"
_sjft_status=$?
unset -f _sjft_env _sjft_prepend sjft_caffe_layout
unset _sjft_here _sjft_list _sjft_root _sjft_dir SJFT_CAFFE_BIN SJFT_CAFFE_PYTHON SJFT_CAFFE_LIB
(exit "$_sjft_status")
