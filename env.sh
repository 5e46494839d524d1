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
    if [ -z "$_sjft_root" ] || [ ! -x "$1/build/venv/bin/python" ]; then
        echo "env.sh: error: this checkout is not set up yet; run 'make caffe' in $1 first" >&2
        return 1
    fi
    if [ -z "${CAFFE_ROOT:-}" ] && [ ! -d "$_sjft_root" ]; then
        echo "env.sh: error: $_sjft_root is gone; run 'make caffe' in $1 again" >&2
        return 1
    fi
    sjft_caffe_layout "$_sjft_root" || return 1
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

_sjft_forget() {
    unset _sjft_here _sjft_list _sjft_root _sjft_dir
    unset SJFT_CAFFE_BIN SJFT_CAFFE_PYTHON SJFT_CAFFE_LIB
    unset -f _sjft_env _sjft_prepend _sjft_forget sjft_caffe_layout
}

if [ -n "${BASH_SOURCE:-}" ]; then
    _sjft_here=$(cd "$(dirname "${BASH_SOURCE:-}")" && pwd)
elif [ -n "${ZSH_VERSION:-}" ]; then
    _sjft_here=$(eval 'cd "$(dirname "${(%):-%x}")" && pwd')
else
    _sjft_here=$PWD
fi
if _sjft_env "$_sjft_here"; then
    _sjft_forget
else
    _sjft_forget
    false
fi
