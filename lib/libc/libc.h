/* SPDX-License-Identifier: BSD-2-Clause */
/* What lies under the distribution's musl: the Linux system calls that it makes, served inside the process.
 *
 * A program is an ordinary static one with main(). It starts with its own TCB capability in slot 2 and an
 * information page at BOOT_INFO_ADDRESS (struct umbra_bootinfo of the root task, struct component_info of all
 * others). There is one thread, no file but standard output and error, no signal; an unknown call is ENOSYS
 * and said once. write, writev to 1 and 2   the log function, in pieces that end with a newline where they
 * can mmap, munmap, mremap       pages of the bounded heap; ENOMEM when it is used up; mprotect is without
 * effect exit                       root task: the machine ends with the status; others: a fault that init
 * takes as the end clock_gettime              time since the processor's counter began */
#ifndef LIB_LIBC_LIBC_H
#define LIB_LIBC_LIBC_H

#include <umbra/bootinfo.h>

/* libc_set_log - where output goes. Without this: the kernel's log, if the program holds the Kernel
 * capability, else nowhere. The function gets at most LIBC_LOG_MAX bytes and may use no stdio. */
#define LIBC_LOG_MAX 440u
typedef void libc_log_fn(const char *text, size_t bytes);
void libc_set_log(libc_log_fn *f);

/* The root task has no heap that somebody gave it: it states one, at file level. */
#define LIBC_ROOT_HEAP(bytes)                                                                                \
    static char libc_root_heap_memory[bytes] __attribute__((aligned(4096)));                                 \
    char *const libc_root_heap = libc_root_heap_memory;                                                      \
    const size_t libc_root_heap_bytes = (bytes)

struct libc_usage {
    size_t pages, used, peak; /* of the heap; the page map's own pages are not counted */
};
struct libc_usage libc_heap_usage(void);

/* Ticks a second of the processor's counter, and its value. */
uint64_t libc_tsc_hz(void);
static inline uint64_t libc_tsc(void)
{
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return low | (uint64_t)high << 32;
}

#endif
