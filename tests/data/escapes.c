// Attempts to reach the build host from inside a sandbox, and controls that must go on working.
// Prints "WRONG name: answer, expected answer" for each that is answered otherwise, then their number.
// Every attempt runs in a process of its own; its answer is an errno, a signal, or what it found.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/fs.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

enum { FOUND = 250, HIDDEN = 251, OTHER = 252, BY_SIGNAL = 1000 };

static int wrong, count;

static const char *say(int answer) {
    static char text[4][64];
    static int turn;
    char *to = text[turn++ % 4];
    if (answer == 0) return "success";
    if (answer == FOUND) return "content";
    if (answer == HIDDEN) return "nothing to read";
    if (answer == OTHER) return "something else";
    if (answer >= BY_SIGNAL) snprintf(to, 64, "SIG%s", sigabbrev_np(answer - BY_SIGNAL));
    else snprintf(to, 64, "%s", strerrorname_np(answer) ? strerrorname_np(answer) : "unknown");
    return to;
}

static void judge(const char *name, int got, int expected) {
    count++;
    if (got == expected) return;
    wrong++;
    printf("WRONG %s: %s, expected %s\n", name, say(got), say(expected));
}

// Starts a process; returns 0 in it, and in its parent the answer that it exits with.
#define IN_CHILD(answer, expression)                                        \
    do {                                                                    \
        fflush(stdout);                                                     \
        pid_t child_ = fork();                                              \
        if (child_ == 0) { alarm(10); _exit(expression); }                  \
        int status_;                                                        \
        while (waitpid(child_, &status_, 0) < 0) {}                         \
        answer = WIFSIGNALED(status_) ? BY_SIGNAL + WTERMSIG(status_) : WEXITSTATUS(status_); \
    } while (0)

// ---- system calls -------------------------------------------------------------------------

struct call { const char *name; int expected; long number, a, b, c, d, e; };

static int do_call(const struct call *call) {
    pid_t self = getpid();
    long result = syscall(call->number, call->a, call->b, call->c, call->d, call->e, 0);
    if (getpid() != self) _exit(0);  // a child that clone made
    return result < 0 ? errno : 0;
}

static char buffer[4096];
#define B ((long)buffer)
#define S(text) ((long)(text))
#define C(name, expected, ...) { #name, expected, SYS_##name, __VA_ARGS__ }
#define N(name, expected, number, ...) { name, expected, number, __VA_ARGS__ }
#define SOCKET(family, protocol) { "socket " #family " " #protocol, EAFNOSUPPORT, SYS_socket, family, SOCK_RAW, protocol }
#define CLONE(flag) { "clone " #flag, EPERM, SYS_clone, flag | SIGCHLD }
#define UNSHARE(flag) { "unshare " #flag, EPERM, SYS_unshare, flag }

static const struct call CALLS[] = {
    // Keys.
    C(add_key, EPERM, S("user"), S("oic"), S("x"), 1, -4),
    C(request_key, EPERM, S("user"), S("oic"), 0, -4),
    N("keyctl read the session's keys", EPERM, SYS_keyctl, 11, -3, B, 4096),
    N("keyctl read the user's keys", EPERM, SYS_keyctl, 11, -4, B, 4096),
    N("keyctl search", EPERM, SYS_keyctl, 10, -4, S("user"), S("oic"), 0),
    N("keyctl describe", EPERM, SYS_keyctl, 6, -5, B, 4096),
    N("keyctl join a session", EPERM, SYS_keyctl, 1, 0),
    N("keyctl link the user's keys", EPERM, SYS_keyctl, 8, -4, -3),
    N("keyctl persistent keys", EPERM, SYS_keyctl, 22, 0, -3),
    // Programs and memory of the kernel.
    N("bpf create a map", EPERM, SYS_bpf, 0, B, 128), N("bpf load a program", EPERM, SYS_bpf, 5, B, 128),
    C(userfaultfd, EPERM, 0), N("userfaultfd for users", EPERM, SYS_userfaultfd, 1),
    C(perf_event_open, EPERM, B, 0, -1, -1, 0),
    C(io_uring_setup, EPERM, 8, B), C(io_uring_enter, EPERM, 0), C(io_uring_register, EPERM, 0),
    C(init_module, EPERM, B, 4096, S("")), C(finit_module, EPERM, 0, S(""), 0), C(delete_module, EPERM, S("loop"), 0),
    C(kexec_load, EPERM, 0, 0, 0, 0), C(kexec_file_load, EPERM, 0, 0, 0, S(""), 0),
    N("reboot", EPERM, SYS_reboot, 0xfee1dead, 672274793, 0), N("syslog read all", EPERM, SYS_syslog, 3, B, 4096),
    N("syslog size", EPERM, SYS_syslog, 10, 0, 0), N("syslog clear", EPERM, SYS_syslog, 5, 0, 0),
    C(lookup_dcookie, EPERM, 0, B, 4096), C(nfsservctl, EPERM, 0, 0, 0),
    C(memfd_secret, ENOSYS, 0),
    // Other processes.
    N("ptrace traceme", EPERM, SYS_ptrace, 0), N("ptrace attach to PID 1", EPERM, SYS_ptrace, 16, 1),
    N("ptrace seize PID 1", EPERM, SYS_ptrace, 0x4206, 1),
    C(process_vm_readv, EPERM, 1, 0, 0, 0, 0), C(process_vm_writev, EPERM, 1, 0, 0, 0, 0),
    N("kcmp", EPERM, SYS_kcmp, 1, 1, 0), C(pidfd_getfd, EPERM, 0, 0, 0), C(process_madvise, EPERM, 0),
    N("move_pages of PID 1", EPERM, SYS_move_pages, 1, 0), C(migrate_pages, EPERM, 1),
    C(mbind, EPERM, 0), C(set_mempolicy, EPERM, 0),
    // The clock.
    C(settimeofday, EPERM, B, 0), N("clock_settime", EPERM, SYS_clock_settime, 0, B),
    N("clock_adjtime", EPERM, SYS_clock_adjtime, 0, B), C(adjtimex, EPERM, B),
    // Mounts.
    N("mount tmpfs", EPERM, SYS_mount, S("x"), S("/tmp"), S("tmpfs"), 0, 0),
    N("mount proc", EPERM, SYS_mount, S("x"), S("/tmp"), S("proc"), 0, 0),
    N("mount devtmpfs", EPERM, SYS_mount, S("x"), S("/tmp"), S("devtmpfs"), 0, 0),
    N("mount cgroup2", EPERM, SYS_mount, S("x"), S("/tmp"), S("cgroup2"), 0, 0),
    N("remount / with devices", EPERM, SYS_mount, 0, S("/"), 0, 0x1020, 0),
    N("remount /proc/sys writable", EPERM, SYS_mount, 0, S("/proc/sys"), 0, 0x1020, 0),
    N("bind / elsewhere", EPERM, SYS_mount, S("/"), S("/tmp"), 0, 0x1000, 0),
    N("umount /proc/keys", EPERM, SYS_umount2, S("/proc/keys"), 2),
    N("umount /dev/null", EPERM, SYS_umount2, S("/dev/null"), 2), N("umount /proc", EPERM, SYS_umount2, S("/proc"), 2),
    C(pivot_root, EPERM, S("/"), S("/tmp")), C(fsopen, EPERM, S("tmpfs"), 0), C(fsmount, EPERM, 0, 0, 0),
    C(fsconfig, EPERM, 0), C(fspick, EPERM, -100, S("/"), 0), C(move_mount, EPERM, -100, S("/"), -100, S("/tmp")),
    N("open_tree clone", EPERM, SYS_open_tree, -100, S("/"), 1), C(mount_setattr, EPERM, -100, S("/"), 0, B, 32),
    N("open_by_handle_at", EPERM, SYS_open_by_handle_at, -100, B, 0),
    C(fanotify_init, EPERM, 0, 0), N("fanotify_init by id", EPERM, SYS_fanotify_init, 0x200, 0), C(fanotify_mark, EPERM, 0),
    C(quotactl, EPERM, 0, 0, 0, 0), C(quotactl_fd, EPERM, 0), C(swapon, EPERM, S("/x"), 0), C(swapoff, EPERM, S("/x")),
    N("acct", EPERM, SYS_acct, S("/x")), N("acct off", EPERM, SYS_acct, 0),
    // Namespaces.
    CLONE(CLONE_NEWUSER), CLONE(CLONE_NEWNS), CLONE(CLONE_NEWPID), CLONE(CLONE_NEWNET), CLONE(CLONE_NEWIPC),
    CLONE(CLONE_NEWUTS), CLONE(CLONE_NEWCGROUP), CLONE(CLONE_NEWUSER | CLONE_NEWNS), CLONE(CLONE_NEWUSER | 1L << 40),
    UNSHARE(CLONE_NEWUSER), UNSHARE(CLONE_NEWNS), UNSHARE(CLONE_NEWNET), UNSHARE(CLONE_NEWPID), UNSHARE(0x80),
    C(clone3, ENOSYS, B, 88), C(setns, EPERM, 0, 0), C(sethostname, EPERM, S("x"), 1), C(setdomainname, EPERM, S("x"), 1),
    // What is set for the whole machine or the terminal.
    C(vhangup, EPERM, 0), N("ioctl TIOCSTI", EPERM, SYS_ioctl, 0, TIOCSTI, B),
    N("ioctl TIOCSTI with high bits", EPERM, SYS_ioctl, 0, TIOCSTI | 1L << 32, B),
    N("ioctl TIOCLINUX", EPERM, SYS_ioctl, 0, TIOCLINUX, B),
    N("personality without randomness", EPERM, SYS_personality, 0x40000),
    N("personality read implies exec", EPERM, SYS_personality, 0x400000),
    N("personality mmap page zero", EPERM, SYS_personality, 0x100000), N("personality query", 0, SYS_personality, 0xffffffff),
    N("setpriority", EACCES, SYS_setpriority, 0, 0, -10), N("prctl PR_SET_MM", EPERM, SYS_prctl, 35, 1, 0, 0, 0),
    N("a number that no kernel has", ENOSYS, 9999),
#ifdef __x86_64__
    C(iopl, EPERM, 3), C(ioperm, EPERM, 0x70, 2, 1), N("modify_ldt", EPERM, SYS_modify_ldt, 0, B, 64), C(uselib, EPERM, S("/x")),
    N("sysfs", EPERM, SYS_sysfs, 3), C(ustat, EPERM, 0, B), N("_sysctl", EPERM, 156, B), C(vserver, ENOSYS, 0),
    N("create_module", ENOSYS, 174), N("query_module", ENOSYS, 178), C(afs_syscall, ENOSYS, 0), C(security, ENOSYS, 0),
    N("x32 getpid", ENOSYS, 0x40000000 | SYS_getpid), N("x32 keyctl", ENOSYS, 0x40000000 | SYS_keyctl, 11, -4, B, 4096),
    N("x32 mount", ENOSYS, 0x40000000 | SYS_mount, S("x"), S("/tmp"), S("tmpfs"), 0, 0),
    N("x32 unshare", ENOSYS, 0x40000000 | SYS_unshare, CLONE_NEWUSER), N("x32 ptrace", ENOSYS, 0x40000000 | 521, 16, 1),
    N("x32 kexec_load", ENOSYS, 0x40000000 | 528), N("x32 ptrace without its bit", ENOSYS, 521, 16, 1),
    N("x32 process_vm_readv without its bit", ENOSYS, 539),
#endif
    // Protocols whose state is the host's.
    SOCKET(AF_VSOCK, 0), SOCKET(AF_ALG, 0), SOCKET(AF_PACKET, 0), SOCKET(AF_KEY, 2), SOCKET(AF_BLUETOOTH, 0),
    SOCKET(AF_CAN, 1), SOCKET(AF_TIPC, 0), SOCKET(AF_RDS, 0), SOCKET(AF_X25, 0), SOCKET(AF_AX25, 0), SOCKET(AF_APPLETALK, 0),
    SOCKET(AF_NETROM, 0), SOCKET(AF_LLC, 0), SOCKET(AF_RXRPC, 0), SOCKET(AF_PHONET, 0), SOCKET(AF_NFC, 0), SOCKET(AF_KCM, 0),
    SOCKET(AF_QIPCRTR, 0), SOCKET(AF_SMC, 0), SOCKET(AF_XDP, 0), SOCKET(AF_VSOCK | 1L << 32, 0),
    SOCKET(AF_NETLINK, 9 /* audit */), SOCKET(AF_NETLINK, 15 /* kernel events */), SOCKET(AF_NETLINK, 16 /* generic */),
    SOCKET(AF_NETLINK, 12 /* netfilter */), SOCKET(AF_NETLINK, 6 /* xfrm */), SOCKET(AF_NETLINK, 11 /* connector */),
    SOCKET(AF_NETLINK, 18 /* scsi */), SOCKET(AF_NETLINK, 20 /* rdma */), SOCKET(AF_NETLINK, 21 /* crypto */),
    N("socket raw", EPERM, SYS_socket, AF_INET, SOCK_RAW, 1), N("socket raw 6", EPERM, SYS_socket, AF_INET6, SOCK_RAW, 58),
};

// ---- device nodes --------------------------------------------------------------------------

static const char *const PLACES[] = { "/", "/root", "/var/tmp", "/dev", "/dev/shm", "/tmp", "/run", "/run/lock", "/bound", "/scratch" };
static const struct { const char *name; mode_t kind; int major, minor; } NODES[] = {
    { "disk sda", S_IFBLK, 8, 0 }, { "disk vda", S_IFBLK, 254, 0 }, { "nvme", S_IFBLK, 259, 0 }, { "loop0", S_IFBLK, 7, 0 },
    { "device mapper", S_IFBLK, 253, 0 }, { "ram0", S_IFBLK, 1, 0 }, { "mem", S_IFCHR, 1, 1 }, { "port", S_IFCHR, 1, 4 },
    { "kmsg", S_IFCHR, 1, 11 }, { "null", S_IFCHR, 1, 3 }, { "console", S_IFCHR, 5, 1 }, { "tty0", S_IFCHR, 4, 0 },
    { "kvm", S_IFCHR, 10, 232 }, { "fuse", S_IFCHR, 10, 229 }, { "loop-control", S_IFCHR, 10, 237 }, { "tun", S_IFCHR, 10, 200 },
    { "mapper control", S_IFCHR, 10, 236 }, { "btrfs-control", S_IFCHR, 10, 234 }, { "rtc", S_IFCHR, 10, 135 },
    { "watchdog", S_IFCHR, 10, 130 }, { "cuse", S_IFCHR, 10, 203 }, { "vhost-net", S_IFCHR, 10, 238 }, { "snapshot", S_IFCHR, 10, 231 },
};

static int open_node(const char *path, int flags) {
    int fd = open(path, flags | O_NONBLOCK);
    return fd < 0 ? errno : 0;
}

static void try_nodes(void) {
    for (size_t p = 0; p < sizeof PLACES / sizeof *PLACES; p++)
        for (size_t n = 0; n < sizeof NODES / sizeof *NODES; n++) {
            char path[256], name[300];
            snprintf(path, sizeof path, "%s/oic-node-%zu", PLACES[p], n);
            snprintf(name, sizeof name, "make node of %s in %s", NODES[n].name, PLACES[p]);
            int made = mknod(path, NODES[n].kind | 0600, makedev(NODES[n].major, NODES[n].minor)) ? errno : 0;
            judge(name, made, 0);
            snprintf(name, sizeof name, "open node of %s in %s", NODES[n].name, PLACES[p]);
            int answer;
            IN_CHILD(answer, open_node(path, O_RDONLY));
            judge(name, answer, EACCES);
            IN_CHILD(answer, open_node(path, O_WRONLY));
            judge(name, answer, EACCES);
            unlink(path);
        }
}

// ---- paths ---------------------------------------------------------------------------------

struct path { const char *name; int flags, expected; };
#define R O_RDONLY
#define W O_WRONLY

static const struct path PATHS[] = {
    // The kernel's memory, keys and controls: hidden, and read-only.
    { "/proc/kcore", R, HIDDEN }, { "/proc/keys", R, HIDDEN }, { "/proc/key-users", R, HIDDEN }, { "/proc/kmsg", R, HIDDEN },
    { "/proc/kpagecount", R, HIDDEN }, { "/proc/kpageflags", R, HIDDEN }, { "/proc/kpagecgroup", R, HIDDEN },
    { "/proc/kallsyms", R, HIDDEN }, { "/proc/vmallocinfo", R, HIDDEN }, { "/proc/timer_list", R, HIDDEN },
    { "/proc/timer_stats", R, HIDDEN }, { "/proc/sched_debug", R, HIDDEN }, { "/proc/latency_stats", R, HIDDEN },
    { "/proc/iomem", R, HIDDEN }, { "/proc/ioports", R, HIDDEN }, { "/proc/slabinfo", R, HIDDEN }, { "/proc/vmcore", R, HIDDEN },
    { "/proc/interrupts", R, HIDDEN }, { "/proc/pagetypeinfo", R, HIDDEN }, { "/proc/mtrr", R, HIDDEN },
    { "/proc/acpi/wakeup", R, HIDDEN }, { "/proc/scsi/scsi", R, HIDDEN }, { "/proc/asound/cards", R, HIDDEN },
    { "/proc/dynamic_debug/control", R, HIDDEN }, { "/proc/keys", W, EROFS }, { "/proc/kcore", O_RDWR, EROFS },
    { "/proc/sysrq-trigger", W, EROFS }, { "/proc/sysrq-trigger", R, HIDDEN },
    { "/proc/sys/kernel/core_pattern", W, EROFS }, { "/proc/sys/kernel/modprobe", W, EROFS },
    { "/proc/sys/kernel/sysrq", W, EROFS }, { "/proc/sys/kernel/hostname", W, EROFS },
    { "/proc/sys/kernel/randomize_va_space", W, EROFS }, { "/proc/sys/kernel/panic", W, EROFS },
    { "/proc/sys/kernel/ns_last_pid", W, EROFS }, { "/proc/sys/vm/overcommit_memory", W, EROFS },
    { "/proc/sys/vm/drop_caches", W, EROFS }, { "/proc/sys/fs/protected_symlinks", W, EROFS },
    { "/proc/sys/fs/suid_dumpable", W, EROFS }, { "/proc/sys/fs/file-max", W, EROFS },
    { "/proc/sys/user/max_user_namespaces", W, EACCES }, { "/proc/sys/net/ipv4/ip_forward", W, EROFS },
    { "/proc/sys/fs/binfmt_misc/register", W, ENOENT }, { "/proc/irq/default_smp_affinity", W, EROFS },
    { "/proc/self/root/proc/sys/kernel/core_pattern", W, EROFS }, { "/proc/thread-self/root/proc/sys/kernel/sysrq", W, EROFS },
    // PID 1 of the sandbox is a program of the host.
    { "/proc/1/root/etc", R, EACCES }, { "/proc/1/root", O_PATH, EACCES }, { "/proc/1/cwd", O_PATH, EACCES }, { "/proc/1/exe", R, EACCES },
    { "/proc/1/exe", O_PATH, EACCES }, { "/proc/1/mem", O_RDWR, EACCES }, { "/proc/1/environ", R, EACCES }, { "/proc/1/maps", R, EACCES },
    { "/proc/1/fd/0", O_RDWR, EACCES }, { "/proc/1/fd/1", W, EACCES }, { "/proc/1/ns/mnt", R, EACCES }, { "/proc/1/ns/user", R, EACCES },
    { "/proc/1/pagemap", R, EACCES }, { "/proc/1/auxv", R, EACCES }, { "/proc/1/task/1/root", O_PATH, EACCES },
    { "/proc/self/../1/root/etc/shadow", R, EACCES },
    // What is not there.
    { "/dev/mem", R, ENOENT }, { "/dev/kmsg", W, ENOENT }, { "/dev/kvm", O_RDWR, ENOENT }, { "/dev/fuse", O_RDWR, ENOENT },
    { "/dev/vda", R, ENOENT }, { "/dev/sda", R, ENOENT }, { "/dev/loop-control", O_RDWR, ENOENT }, { "/dev/net/tun", O_RDWR, ENOENT },
    { "/dev/console", W, ENOENT }, { "/dev/tty0", W, ENOENT }, { "/dev/log", W, ENOENT }, { "/dev/blank-file", R, ENOENT },
    { "/dev/tty", O_RDWR, ENXIO }, { "/sys/kernel/security", R, ENOENT }, { "/sys/kernel/debug", R, ENOENT },
    { "/sys/fs/cgroup/cgroup.procs", W, ENOENT }, { "/sys/class/block", R, ENOENT }, { "/sys/firmware", R, ENOENT },
    { "/sys/power/state", W, ENOENT }, { "/sys/kernel/uevent_helper", W, ENOENT }, { "/sys/oic", R, ENOENT },
    { "/../../../../etc/shadow", R, ENOENT }, { "/proc/self/root/../../etc/shadow", R, ENOENT }, { "/proc/self/cwd/../etc/shadow", R, ENOENT },
    { "/etc/shadow", R, ENOENT }, { "/usr/oic-escape", O_CREAT | W, EROFS },
    { "/proc/self/fd/3", R, ENOENT }, { "/proc/self/fd/4", R, ENOENT }, { "/proc/self/fd/5", R, ENOENT },
    // What must be there.
    { "/dev/null", O_RDWR, 0 }, { "/dev/zero", R, FOUND }, { "/dev/random", R, FOUND }, { "/dev/urandom", R, FOUND },
    { "/dev/full", R, FOUND }, { "/dev/ptmx", O_RDWR, 0 }, { "/proc/self/status", R, FOUND }, { "/proc/cpuinfo", R, FOUND },
    { "/proc/filesystems", R, FOUND }, { "/proc/mounts", R, FOUND }, { "/proc/sys/kernel/ostype", R, FOUND }, { "/proc/meminfo", R, FOUND },
};

static int try_path(const struct path *path) {
    char byte;
    int fd = open(path->name, path->flags | O_NONBLOCK, 0600);
    // A kernel may have been built without a control: what is not there cannot be read or written.
    if (fd < 0 && errno == ENOENT && (path->expected == HIDDEN || path->expected == EROFS)) return path->expected;
    if (fd < 0) return errno;
    if (path->expected != FOUND && path->expected != HIDDEN) return 0;
    return read(fd, &byte, 1) == 1 ? FOUND : HIDDEN;
}

// ---- everything else -----------------------------------------------------------------------

#define FAILED(expression) ((expression) < 0 ? errno : 0)

static int compat_call(void) {
#ifdef __x86_64__
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(20) : "memory");  // getpid of i386
    return 0;
#else
    raise(SIGSYS);
    return 0;
#endif
}
static int raise_files(void) { struct rlimit l = { 1 << 30, 1 << 30 }; return FAILED(setrlimit(RLIMIT_NOFILE, &l)); }
static int raise_core(void) { struct rlimit l = { RLIM_INFINITY, RLIM_INFINITY }; return FAILED(setrlimit(RLIMIT_CORE, &l)); }
static int core_limit(void) { struct rlimit l; getrlimit(RLIMIT_CORE, &l); return l.rlim_cur == 1 && l.rlim_max == 1 ? 0 : OTHER; }
static int raise_capabilities(void) {
    struct { unsigned version; int pid; } header = { 0x20080522, 0 };
    unsigned all[6] = { ~0u, ~0u, ~0u, ~0u, ~0u, ~0u };
    return FAILED(syscall(SYS_capset, &header, all));
}
static int bounding(int capability) { return prctl(PR_CAPBSET_READ, capability) == 1 ? FOUND : HIDDEN; }
static int bounding_admin(void) { return bounding(21); }
static int bounding_rawio(void) { return bounding(17); }
static int bounding_net_raw(void) { return bounding(13); }
static int bounding_audit_write(void) { return bounding(29); }
static int bounding_mknod(void) { return bounding(27); }
static int inheritable(void) {
    struct { unsigned version; int pid; } header = { 0x20080522, 0 };
    unsigned sets[6];
    if (syscall(SYS_capget, &header, sets)) return errno;
    return sets[2] || sets[5] ? FOUND : HIDDEN;
}
static int no_new_privileges(void) { return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? 0 : OTHER; }
static int filtered(void) { return prctl(PR_GET_SECCOMP) == 2 ? 0 : OTHER; }
static int realtime(void) { struct sched_param p = { 10 }; return FAILED(sched_setscheduler(0, SCHED_FIFO, &p)); }
static int trusted_attribute(void) { return FAILED(setxattr("/root", "trusted.oic", "x", 1, 0)); }
static int security_attribute(void) { return FAILED(setxattr("/root", "security.oic", "x", 1, 0)); }
static int on_root(unsigned long request) { char space[64] = { 0 }; return FAILED(ioctl(open("/", O_RDONLY), request, space)); }
static int freeze(void) { return on_root(FIFREEZE); }
static int trim(void) { return on_root(FITRIM); }
static int replace_null(void) { close(open("/dev/other", O_CREAT | O_WRONLY, 0600)); return FAILED(rename("/dev/other", "/dev/null")); }
static int remove_null(void) { return FAILED(unlink("/dev/null")); }
static int remove_keys(void) { return FAILED(unlink("/proc/keys")); }
static int chroot_out(void) {
    if (mkdir("/root/jail", 0700) || chroot("/root/jail")) return errno;
    for (int i = 0; i < 64; i++) if (chdir("..")) return errno;
    if (chroot(".")) return errno;
    int fd = open("/oic-control", O_RDONLY);  // only the image's root has it
    return fd < 0 ? OTHER : 0;
}
static int other_processes(void) { return FAILED(kill(99999, 0)); }
static int parent_outside(void) {  // PID 1's parent is on the host: it must be unseen
    FILE *file = fopen("/proc/1/stat", "r");
    int parent = -1;
    if (!file || fscanf(file, "%*d (%*[^)]) %*c %d", &parent) != 1) return OTHER;
    return parent == 0 ? HIDDEN : FOUND;
}
static int list_mappings(void) {
    DIR *directory = opendir("/proc/1/map_files");
    struct dirent *entry;
    if (!directory) return errno;
    while ((entry = readdir(directory))) if (entry->d_name[0] != '.') return FOUND;
    return HIDDEN;
}
static int cgroup_path(void) {
    char line[512];
    FILE *file = fopen("/proc/self/cgroup", "r");
    while (file && fgets(line, sizeof line, file)) {
        char *path = strrchr(line, ':');
        if (path && strcmp(path + 1, "/\n")) return FOUND;
    }
    return HIDDEN;
}
static int segments(void) {  // SysV segments of the host; a fresh namespace has none
    struct shm_info info;
    return shmctl(0, SHM_INFO, (struct shmid_ds *)&info) < 0 ? errno : info.used_ids ? FOUND : HIDDEN;
}
static int group_leader(void) { return getsid(0) == 1 ? 0 : OTHER; }

// Controls.
static int make_fifo(void) { return FAILED(mkfifo("/root/fifo", 0600)); }
static int change_owner(void) { close(open("/root/owned", O_CREAT | O_WRONLY, 0600)); return FAILED(chown("/root/owned", 1000, 1000)); }
static int set_id_bits(void) {
    struct stat status;
    close(open("/root/set-id", O_CREAT | O_WRONLY, 0600));
    if (chown("/root/set-id", 0, 5) || chmod("/root/set-id", 06755) || stat("/root/set-id", &status)) return errno;
    return (status.st_mode & 07777) == 06755 ? 0 : OTHER;
}
static int file_capability(void) {
    static const unsigned char capability[20] = { 1, 0, 0, 2, 0, 0x20 };  // VFS_CAP_REVISION_2, cap_net_raw
    close(open("/root/capable", O_CREAT | O_WRONLY, 0755));
    return FAILED(setxattr("/root/capable", "security.capability", capability, sizeof capability, 0));
}
static int become_user(void) { gid_t group = 1000; return setgroups(1, &group) || setgid(1000) || setuid(1000) ? errno : 0; }
static int write_null(void) { int fd = open("/dev/null", O_WRONLY); return write(fd, "x", 1) == 1 ? 0 : errno; }
static int write_full(void) { int fd = open("/dev/full", O_WRONLY); return write(fd, "x", 1) == 1 ? 0 : errno; }
static int chmod_null(void) { return FAILED(chmod("/dev/null", 0600)) ? errno : FAILED(chmod("/dev/null", 0666)); }
static int terminal(void) {
    int fd = posix_openpt(O_RDWR | O_NOCTTY);
    if (fd < 0 || grantpt(fd) || unlockpt(fd)) return errno;
    return FAILED(open(ptsname(fd), O_RDWR | O_NOCTTY));
}
static void *nothing(void *argument) { return argument; }
static int thread(void) { pthread_t id; int e = pthread_create(&id, 0, nothing, 0); return e ? e : pthread_join(id, 0); }
static int run_shell(void) { return system("true") ? OTHER : 0; }
static int unix_socket(void) {
    struct sockaddr_un address = { AF_UNIX, "/run/oic-socket" };
    int server = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0);
    if (bind(server, (void *)&address, sizeof address) || listen(server, 1)) return errno;
    return FAILED(connect(client, (void *)&address, sizeof address));
}
static int inet_socket(void) { return FAILED(socket(AF_INET, SOCK_STREAM, 0)); }
static int inet6_socket(void) { int fd = socket(AF_INET6, SOCK_DGRAM, 0); return fd < 0 && errno != EAFNOSUPPORT ? errno : 0; }
static int route_socket(void) { return FAILED(socket(AF_NETLINK, SOCK_RAW, 0)); }
static int socket_pair(void) { int fds[2]; return FAILED(socketpair(AF_UNIX, SOCK_STREAM, 0, fds)); }
static int watch(void) { return FAILED(inotify_add_watch(inotify_init1(0), "/root", IN_CREATE)); }
static int memory_file(void) { return FAILED(memfd_create("x", 0)); }
static int lock(void) { return FAILED(flock(open("/root", O_RDONLY), LOCK_EX)); }
static int to_disk(void) { sync(); return FAILED(syncfs(open("/root", O_RDONLY))); }
static int semaphore(void) { return FAILED(semget(IPC_PRIVATE, 1, 0600)); }
static int shared_memory(void) { return FAILED(shmget(IPC_PRIVATE, 4096, 0600)); }
static int change_root(void) { return FAILED(chroot("/root")); }
static int hard_link(void) { close(open("/root/one", O_CREAT | O_WRONLY, 0600)); return FAILED(link("/root/one", "/root/two")); }
static int low_port(void) {
    struct sockaddr_in { sa_family_t family; unsigned short port; unsigned address; char zero[8]; } address = { AF_INET, 0x5000 };
    return FAILED(bind(socket(AF_INET, SOCK_STREAM, 0), (void *)&address, sizeof address));
}
static int own_filter(void) { unsigned action = 0x7fff0000; return FAILED(syscall(SYS_seccomp, 2, 0, &action)); }
static int user_attribute(void) { return FAILED(setxattr("/root", "user.oic", "x", 1, 0)); }
static int kill_child(void) { pid_t pid = fork(); if (!pid) { pause(); _exit(0); } return FAILED(kill(pid, SIGKILL)); }

static const struct { const char *name; int (*attempt)(void); int expected; } OTHERS[] = {
    { "a call through the table of another architecture", compat_call, BY_SIGNAL + SIGSYS },
    { "raise the limit of open files", raise_files, EPERM }, { "raise the limit of core dumps", raise_core, EPERM },
    { "core dumps reach no program of the host", core_limit, 0 }, { "raise capabilities", raise_capabilities, EPERM },
    { "CAP_SYS_ADMIN", bounding_admin, HIDDEN }, { "CAP_SYS_RAWIO", bounding_rawio, HIDDEN }, { "CAP_NET_RAW", bounding_net_raw, HIDDEN },
    { "CAP_AUDIT_WRITE", bounding_audit_write, HIDDEN }, { "CAP_MKNOD", bounding_mknod, FOUND },
    { "inheritable capabilities", inheritable, HIDDEN }, { "set-id programs gain nothing", no_new_privileges, 0 },
    { "calls are filtered", filtered, 0 }, { "realtime", realtime, EPERM }, { "trusted attribute", trusted_attribute, EPERM },
    { "security attribute", security_attribute, EPERM }, { "freeze", freeze, EPERM }, { "trim", trim, EPERM },
    { "replace /dev/null", replace_null, EBUSY }, { "remove /dev/null", remove_null, EBUSY }, { "remove /proc/keys", remove_keys, EPERM },
    { "leave by chroot", chroot_out, 0 }, { "processes of the host", other_processes, ESRCH },
    { "files that PID 1 has mapped", list_mappings, HIDDEN }, { "PID 1's parent", parent_outside, HIDDEN }, { "control groups of the host", cgroup_path, HIDDEN },
    { "shared memory of the host", segments, HIDDEN }, { "a session without the host's terminal", group_leader, 0 },
    { "fifo", make_fifo, 0 }, { "owner", change_owner, 0 }, { "set-id bits", set_id_bits, 0 }, { "file capability", file_capability, 0 },
    { "become a user", become_user, 0 }, { "write /dev/null", write_null, 0 }, { "write /dev/full", write_full, ENOSPC },
    { "change /dev/null's mode", chmod_null, 0 }, { "terminal", terminal, 0 }, { "thread", thread, 0 }, { "shell", run_shell, 0 },
    { "unix socket", unix_socket, 0 }, { "inet socket", inet_socket, 0 }, { "inet6 socket", inet6_socket, 0 },
    { "route socket", route_socket, 0 }, { "socket pair", socket_pair, 0 }, { "watch", watch, 0 }, { "file in memory", memory_file, 0 },
    { "lock", lock, 0 }, { "sync", to_disk, 0 }, { "semaphore", semaphore, 0 }, { "shared memory", shared_memory, 0 },
    { "chroot", change_root, 0 }, { "hard link", hard_link, 0 }, { "low port", low_port, 0 }, { "own filter", own_filter, 0 },
    { "user attribute", user_attribute, 0 }, { "kill a child", kill_child, 0 },
};

int main(void) {
    int answer;
    for (size_t i = 0; i < sizeof CALLS / sizeof *CALLS; i++) {
        IN_CHILD(answer, do_call(&CALLS[i]));
        judge(CALLS[i].name, answer, CALLS[i].expected);
    }
    for (size_t i = 0; i < sizeof PATHS / sizeof *PATHS; i++) {
        char name[300];
        snprintf(name, sizeof name, "open %s (flags %#x)", PATHS[i].name, PATHS[i].flags);
        IN_CHILD(answer, try_path(&PATHS[i]));
        judge(name, answer, PATHS[i].expected);
    }
    for (size_t i = 0; i < sizeof OTHERS / sizeof *OTHERS; i++) {
        IN_CHILD(answer, OTHERS[i].attempt());
        judge(OTHERS[i].name, answer, OTHERS[i].expected);
    }
    try_nodes();
    printf("ATTEMPTS %d WRONG %d\n", count, wrong);
    return 0;
}
