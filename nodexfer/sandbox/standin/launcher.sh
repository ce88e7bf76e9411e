#!/bin/sh
# The sandbox's stand-in for Globus Connect Personal on Linux. It speaks with the sandbox only.
python=@PYTHON@

usage() {
    cat <<'END'
Usage: globusconnectpersonal [-dir CONFIGDIR] VERB
  -setup [--setup-key] KEY [--description TEXT] [-n NAME] [--owner NAME] [--no-gui]
  -start [-restrict-paths LIST] [-shared-paths LIST]     stays in the foreground
  -debug [-restrict-paths LIST] [-shared-paths LIST]     as -start, and tells what happens
  -status  -stop  -trace  -pause  -unpause
  -version  -help  -h
END
}

refuse() {
    echo "globusconnectpersonal: $1" >&2
    usage >&2
    exit 1
}

self=$0
case $self in
    */*) ;;
    *) self=./$self ;;
esac
while [ -L "$self" ]; do
    target=$(readlink "$self")
    case $target in
        /*) self=$target ;;
        *) self=${self%/*}/$target ;;
    esac
done
here=$(cd "${self%/*}" && pwd -P) || exit 1
GLOBUS_LOCATION=$here/gt_amd64
export GLOBUS_LOCATION

verb=
debug=
dir=${HOME:-}/.globusonline
restrict=NONE
shared=NONE
left=$#
while [ "$left" -gt 0 ]; do
    word=$1
    shift
    left=$((left - 1))
    case $word in
        -dir | -restrict-paths | -shared-paths)
            [ "$left" -gt 0 ] || refuse "$word needs a value"
            case $word in
                -dir) dir=$1 ;;
                -restrict-paths) restrict=$1 ;;
                -shared-paths) shared=$1 ;;
            esac
            shift
            left=$((left - 1))
            ;;
        -debug) debug=yes ;;
        -setup | -start | -status | -stop | -trace | -pause | -unpause | -version | -help | -h | -gui) verb=$word ;;
        *) set -- "$@" "$word" ;;
    esac
done
[ "$verb" = -setup ] || [ $# -eq 0 ] || refuse "what is $1?"

# Not exec: the real launcher stays too, as the parent of what it starts.
case $verb$debug in
    -setup*)
        "$python" -I -S -X utf8 "$here/gt_amd64/bin/register" "$dir" "$@" ;;
    -start | -startyes | yes)
        mode=-start
        [ -z "$debug" ] || mode=-debug
        "$python" -I -S -X utf8 "$here/gc-ctrl.py" "$mode" "$restrict" "$shared" "$dir" forward ;;
    -status* | -stop* | -trace* | -pause* | -unpause*)
        "$python" -I -S -X utf8 "$here/gc-ctrl.py" "$verb" "$dir" forward ;;
    -version*)
        echo @VERSION@ ;;
    -help* | -h*)
        usage ;;
    -gui*)
        echo "The graphical interface needs Tk and a display; use -setup and -start." >&2
        exit 1 ;;
    *)
        refuse "no verb was given" ;;
esac
exit $?
