/* SPDX-License-Identifier: BSD-2-Clause */
/* The Linux system calls that musl makes (numbers: Linux, arch/x86/entry/syscalls/syscall_64.tbl).
 *
 * Called by libc_call_entry on the caller's stack; uses no errno and no stdio. Results are as the Linux
 * kernel's: a negative error number, or the value. What is not listed is ENOSYS. */
#define _GNU_SOURCE
#include "libc/internal.h"
#include "sys/sys.h"
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>

#define DEBUG_EXIT_PORT 0xf4
#define BOCHS_EXIT_PORT 0x8900
#define ARCH_SET_FS     0x1002 /* Linux, arch/x86/include/uapi/asm/prctl.h */

static struct heap heap;
static uint64_t tsc_hz;
static uint32_t process; /* what getpid says */
static bool is_root;

void libc_init(const struct component_info *info, bool root)
{
    const struct umbra_bootinfo *boot = (const void *)info;

    is_root = root;
    tsc_hz = root ? boot->tsc_hz : info->tsc_hz;
    process = root ? 1 : info->index + 2;
    if (!root)
        heap_init(&heap, info->heap_address, info->heap_bytes);
    else if (&libc_root_heap)
        heap_init(&heap, (uintptr_t)libc_root_heap, libc_root_heap_bytes);
}

struct libc_usage libc_heap_usage(void)
{
    return (struct libc_usage){ heap.pages, heap.used, heap.peak };
}

uint64_t libc_tsc_hz(void)
{
    return tsc_hz;
}

static size_t pages_of(uint64_t bytes)
{
    return bytes / PAGE_BYTES + (bytes % PAGE_BYTES != 0);
}

static int64_t do_mmap(uint64_t address, uint64_t bytes, uint64_t flags)
{
    if (bytes == 0 || (flags & MAP_FIXED))
        return -EINVAL;
    if (!(flags & MAP_ANONYMOUS))
        return -ENODEV;
    (void)address; /* a hint */
    uintptr_t at = heap_take(&heap, pages_of(bytes));
    return at ? (int64_t)at : -ENOMEM;
}

static int64_t do_munmap(uint64_t address, uint64_t bytes)
{
    return heap_give(&heap, address, pages_of(bytes)) ? 0 : -EINVAL;
}

static int64_t do_mremap(uint64_t address, uint64_t old_bytes, uint64_t new_bytes, uint64_t flags)
{
    size_t from = pages_of(old_bytes), to = pages_of(new_bytes);

    if (to == 0 || from == 0)
        return -EINVAL;
    if (to <= from)
        return to == from || heap_give(&heap, address + to * PAGE_BYTES, from - to) ? (int64_t)address
                                                                                    : -EFAULT;
    uintptr_t at = flags & MREMAP_MAYMOVE ? heap_take(&heap, to) : 0;
    if (!at)
        return -ENOMEM;
    memcpy((void *)at, (const void *)address, from * PAGE_BYTES);
    return heap_give(&heap, address, from) ? (int64_t)at : -EFAULT;
}

static int64_t do_writev(uint64_t fd, const struct iovec *v, uint64_t n)
{
    char line[LIBC_LOG_MAX];
    size_t used = 0;
    int64_t sum = 0;

    if (fd != 1 && fd != 2)
        return -EBADF;
    for (uint64_t i = 0; i < n; i++) { /* stdio gives a line in two parts: they stay together */
        const char *text = v[i].iov_base;
        size_t bytes = v[i].iov_len;
        sum += (int64_t)bytes;
        if (bytes > sizeof(line) - used) {
            libc_write(line, used);
            used = 0;
        }
        if (bytes > sizeof(line)) {
            libc_write(text, bytes);
            continue;
        }
        memcpy(line + used, text, bytes);
        used += bytes;
    }
    libc_write(line, used);
    return sum;
}

/* Standard output is a terminal, so that stdio writes whole lines. */
static int64_t do_ioctl(uint64_t fd, uint64_t request, void *argument)
{
    if ((fd != 1 && fd != 2) || request != TIOCGWINSZ)
        return -ENOTTY;
    memset(argument, 0, sizeof(struct winsize));
    return 0;
}

static int64_t do_arch_prctl(uint64_t code, uint64_t address)
{
    if (code != ARCH_SET_FS)
        return -EINVAL;
    return sys_invoke1(SLOT_TCB, TCB_SET_TLS, address) == ERR_OK ? 0 : -EPERM;
}

static int64_t do_clock_gettime(uint64_t clock, struct timespec *t)
{
    uint64_t now = libc_tsc();

    if (clock > CLOCK_BOOTTIME)
        return -EINVAL;
    t->tv_sec = (time_t)(now / tsc_hz);
    t->tv_nsec = (long)((unsigned __int128)(now % tsc_hz) * 1000000000u / tsc_hz);
    return 0;
}

/* Without a handler the same call is a fault, which tells init: w1 = exit_group, RDI = status. */
static _Noreturn void do_exit(uint64_t status)
{
    if (is_root) {
        sys_invoke3(SLOT_IOPORT, IOPORT_OUT, DEBUG_EXIT_PORT, 1, status & 0xff);
        for (const char *s = "Shutdown"; *s; s++)
            sys_invoke3(SLOT_IOPORT, IOPORT_OUT, BOCHS_EXIT_PORT, 1, (uint8_t)*s);
    }
    sys_invoke1(SLOT_TCB, TCB_SET_HANDLER, 0);
    for (;;)
        __asm__ volatile("syscall" : : "a"((uint64_t)SYS_exit_group), "D"(status) : "rcx", "r11", "memory");
}

static int64_t unknown(uint64_t number)
{
    static uint64_t said[8];
    char text[] = "libc: Linux system call 000 is not there\n";

    if (number >= sizeof(said) * 8 || (said[number / 64] & BIT(number % 64)))
        return -ENOSYS;
    said[number / 64] |= BIT(number % 64);
    for (unsigned i = 26; i >= 24; i--, number /= 10)
        text[i] = (char)('0' + number % 10);
    libc_write(text, sizeof(text) - 1);
    return -ENOSYS;
}

int64_t libc_linux_call(uint64_t number, const uint64_t a[6])
{
    switch (number) {
    case SYS_write:
        return a[0] == 1 || a[0] == 2 ? libc_write((const char *)a[1], a[2]) : -EBADF;
    case SYS_writev:
        return do_writev(a[0], (const struct iovec *)a[1], a[2]);
    case SYS_read:
        return a[0] == 0 ? 0 : -EBADF;
    case SYS_close:
        return a[0] <= 2 ? 0 : -EBADF;
    case SYS_lseek:
        return -ESPIPE;
    case SYS_ioctl:
        return do_ioctl(a[0], a[1], (void *)a[2]);
    case SYS_mmap:
        return do_mmap(a[0], a[1], a[3]);
    case SYS_munmap:
        return do_munmap(a[0], a[1]);
    case SYS_mremap:
        return do_mremap(a[0], a[1], a[2], a[3]);
    case SYS_mprotect:
    case SYS_madvise:
    case SYS_rt_sigprocmask:
    case SYS_rt_sigaction:
    case SYS_futex: /* one thread: nobody waits, nobody to wake */
        return 0;
    case SYS_brk: /* always "no": musl then uses mmap alone, so that one allocator bounds the heap */
        return 0;
    case SYS_arch_prctl:
        return do_arch_prctl(a[0], a[1]);
    case SYS_set_tid_address:
    case SYS_getpid:
    case SYS_gettid:
        return process;
    case SYS_sched_yield:
        sys_yield();
        return 0;
    case SYS_clock_gettime:
        return do_clock_gettime(a[0], (struct timespec *)a[1]);
    case SYS_exit:
    case SYS_exit_group:
        do_exit(a[0]);
    default:
        return unknown(number);
    }
}
