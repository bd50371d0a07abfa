# Sourced by scripts/demo and scripts/test: a virtual environment in the repository folder (.venv), with a PyTorch that
# fits this machine. PyTorch comes first and alone, because the ordinary resolution of "torch" on Linux takes the CUDA
# build and gigabytes of libraries, of no use where there is no NVIDIA GPU.

pytorch_cpu_index="https://download.pytorch.org/whl/cpu" # public, asked for once and for a few seconds only
venv="$PWD/.venv"
install_log=$(mktemp)
trap 'rm -f "$install_log"' EXIT

say() { printf '%s\n' "$*" >&2; }
stop() {
    say "$1"
    exit 1
}

pip_install() { # what it prints is kept, so that the download can be added up at the end
    "$venv/bin/python" -m pip install --progress-bar off "$@" >>"$install_log" 2>&1 || {
        tail -n 15 "$install_log" >&2
        stop "Installing failed (pip install $*): see the lines above; once the cause is gone, run this script again."
    }
}

make_environment() {
    local python="" candidate
    if [ ! -x "$venv/bin/python" ] || ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11; do
            if [ -n "$candidate" ] && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
                python=$candidate
                break
            fi
        done
        [ -n "$python" ] || stop "Python 3.11 or newer was not found: install it, or name it with PYTHON=/path/to/python3."
        say "Making a virtual environment in .venv ($("$python" --version)) ..."
        "$python" -m venv --clear "$venv" >&2 ||
            stop "A virtual environment could not be made: on Debian and Ubuntu run  apt-get install -y python3-venv  first."
    fi
}

has_nvidia_gpu() {
    [ -e /dev/nvidia0 ] || { command -v nvidia-smi >/dev/null && nvidia-smi -L 2>/dev/null | grep -q GPU; }
}

newest_cpu_build() { # the newest version ending in +cpu among those that pip can see with the given options
    "$venv/bin/python" -m pip index versions torch "$@" 2>/dev/null |
        sed -n 's/^Available versions: //p' | tr -d ' ' | tr ',' '\n' | grep '+cpu$' | sort -V | tail -n 1
}

resolves_without_cuda() { # Linux on ARM: PyPI's wheel is a CPU build in some releases and not in others
    local plan
    plan=$("$venv/bin/python" -m pip install --dry-run --quiet --report - 'torch>=2.6' 2>/dev/null) || return 1
    ! grep -q '"name": "nvidia' <<<"$plan"
}

install_pytorch() {
    "$venv/bin/python" -c 'from importlib.metadata import version; version("torch")' 2>/dev/null && return
    local chosen="" options=()
    if [ "$(uname -s)" != Linux ] || has_nvidia_gpu; then
        chosen="torch>=2.6"
    else
        local build
        build=$(newest_cpu_build || true) # what pip is configured with on this machine may hold one already
        if [ -z "$build" ]; then
            options=(--timeout 10 --retries 0 --extra-index-url "$pytorch_cpu_index")
            build=$(newest_cpu_build "${options[@]}" || true)
            options=(--extra-index-url "$pytorch_cpu_index")
        fi
        if [ -n "$build" ]; then
            chosen="torch==$build"
        elif [ "$(uname -m)" != x86_64 ] && resolves_without_cuda; then
            chosen="torch>=2.6" options=()
        elif [ "${KIDNET_ALLOW_CUDA_TORCH:-}" = 1 ]; then
            chosen="torch>=2.6" options=()
        else
            say "PyTorch's CPU build could not be found (this machine has no NVIDIA GPU, and the CUDA build takes gigabytes); with a connection to PyTorch's public index run"
            say "    $venv/bin/python -m pip install torch --index-url $pytorch_cpu_index"
            say "and then this script again; or run it with KIDNET_ALLOW_CUDA_TORCH=1 to take the CUDA build all the same."
            exit 1
        fi
    fi
    say "Installing PyTorch ($chosen) ..."
    pip_install "$chosen" ${options[@]+"${options[@]}"}
}

install_package() { # install_package "" or install_package "[test]"
    say "Installing napari-kidnet$1 and what it needs ..."
    pip_install --editable "$PWD$1"
}

report_installation() { # megabytes fetched (or taken from wheels on this machine's own disk) and on disk
    local megabytes
    megabytes=$(python_sum_of_downloads)
    say "Installed: $megabytes MB of packages fetched, $(du -sm "$venv" | cut -f1) MB on disk in .venv, $((SECONDS)) s so far."
}

python_sum_of_downloads() {
    "$venv/bin/python" - "$install_log" <<'PYTHON'
import pathlib, re, sys

total = 0.0
scale = {"bytes": 1e-6, "kB": 1e-3, "KB": 1e-3, "MB": 1.0, "GB": 1e3}
for line in pathlib.Path(sys.argv[1]).read_text(errors="replace").splitlines():
    if found := re.match(r"\s*(?:Downloading|Using cached) \S+ \(([\d.]+) ?(bytes|[kKMG]B)\)", line):
        total += float(found[1]) * scale[found[2]]
    elif (found := re.match(r"\s*Processing (\S+\.whl)", line)) and pathlib.Path(found[1]).is_file():
        total += pathlib.Path(found[1]).stat().st_size * 1e-6
print(round(total))
PYTHON
}
