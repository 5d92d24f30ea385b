#!/bin/sh
# uname(1) while an image is built: the release is that of the image's newest kernel. It takes the options of POSIX and of
# GNU, and prints in GNU's order.
s= n= r= v= m= p= i= o=
[ $# -gt 0 ] || s=1
for argument; do
    case $argument in
        --help) echo "Usage: uname [OPTION]..."; exit 0 ;;
        --version) echo "uname of the build"; exit 0 ;;
        --all) argument=-a ;;
        --kernel-name | --sysname) argument=-s ;;
        --nodename) argument=-n ;;
        --kernel-release | --release) argument=-r ;;
        --kernel-version) argument=-v ;;
        --machine) argument=-m ;;
        --processor) argument=-p ;;
        --hardware-platform) argument=-i ;;
        --operating-system) argument=-o ;;
    esac
    case $argument in
        -?*) letters=${argument#-} ;;
        *) echo "uname: extra operand '$argument'" >&2; exit 1 ;;
    esac
    while [ -n "$letters" ]; do
        rest=${letters#?}
        case ${letters%"$rest"} in
            a) s=1 n=1 r=1 v=1 m=1 o=1 ;;
            s) s=1 ;; n) n=1 ;; r) r=1 ;; v) v=1 ;; m) m=1 ;; p) p=1 ;; i) i=1 ;; o) o=1 ;;
            *) echo "uname: invalid option -- '$letters'" >&2; exit 1 ;;
        esac
        letters=$rest
    done
done
release=@NO_KERNEL@
[ -z "$r" ] || for found in $(for list in /lib/modules/*/modules.builtin; do echo "$list"; done | sort -V); do
    [ ! -e "$found" ] || { found=${found%/*}; release=${found##*/}; }
done
read -r name < /proc/sys/kernel/hostname || name=localhost
line=
for word in ${s:+Linux} ${n:+"$name"} ${r:+"$release"} ${v:+"#1 SMP"} ${m:+@MACHINE@} ${p:+unknown} ${i:+unknown} ${o:+GNU/Linux}; do
    line="$line${line:+ }$word"
done
echo "$line"
