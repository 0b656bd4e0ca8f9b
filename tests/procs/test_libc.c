/* SPDX-License-Identifier: BSD-2-Clause */
/* musl, unmodified, on the system calls of lib/libc. */
// LIBC: yes
#include "tests/procs/libc/harness.h"
#include "sys/sys.h"
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static _Thread_local int tls_number = 41;
static _Thread_local char tls_text[32] = "tls";
static int constructed;
__attribute__((constructor)) static void construct(void)
{
    constructed = 7;
}

TEST(printf_formats)
{
    char text[64];

    CHECK_EQ(snprintf(text, sizeof(text), "%5d|%-5s|%08x|%.3f", -42, "ab", 0xbeef, 2.5), 26);
    CHECK_EQ(strcmp(text, "  -42|ab   |0000beef|2.500"), 0);
}

TEST(strings_and_sorting)
{
    int v[] = { 5, 3, 9, 1 };
    int by_value(const void *a, const void *b)
    {
        return *(const int *)a - *(const int *)b;
    }
    qsort(v, 4, sizeof(v[0]), by_value);
    CHECK(v[0] == 1 && v[3] == 9);
    CHECK_EQ(strtoul("0x1234", NULL, 0), 0x1234);
    CHECK_EQ(strlen(strstr("a capability kernel", "cap")), 17);
}

TEST(thread_local_storage)
{
    tls_number++;
    CHECK_EQ(tls_number, 42);
    CHECK_EQ(strcmp(tls_text, "tls"), 0);
    errno = ERANGE;
    CHECK_EQ(errno, ERANGE);
}

TEST(constructors_ran_and_time_passes)
{
    struct timespec a, b;

    CHECK_EQ(constructed, 7);
    CHECK_EQ(clock_gettime(CLOCK_MONOTONIC, &a), 0);
    do {
        CHECK_EQ(clock_gettime(CLOCK_MONOTONIC, &b), 0);
    } while (a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec);
    CHECK(b.tv_sec > a.tv_sec || b.tv_nsec > a.tv_nsec);
    CHECK(b.tv_nsec < 1000000000);
}

TEST(malloc_gives_zeroed_reusable_memory)
{
    void *volatile first = malloc(60 * 1024);
    free(first); /* the allocator keeps a page or two for itself */
    size_t before = libc_heap_usage().used;

    for (unsigned round = 0; round < 64; round++) {
        char *big = malloc(120 * 1024), *zero = calloc(1, 60 * 1024);
        CHECK(big && zero);
        memset(big, 0xa5, 120 * 1024);
        for (unsigned i = 0; i < 60 * 1024; i += 4096)
            CHECK_EQ(zero[i], 0);
        big = realloc(big, 150 * 1024);
        CHECK(big && (unsigned char)big[120 * 1024 - 1] == 0xa5);
        free(big);
        free(zero);
    }
    CHECK_EQ(libc_heap_usage().used, before);
}

TEST(heap_is_bounded_and_exhaustion_is_an_error)
{
    static void *piece[4096];
    unsigned n = 0;

    errno = 0;
    while (n < 4096 && (piece[n] = malloc(1000)))
        n++;
    CHECK(n > 300 && n < 512);
    CHECK_EQ(errno, ENOMEM);
    CHECK(!malloc(1 << 30));
    while (n > 0)
        free(piece[--n]);
    void *again = malloc(300 * 1024);
    CHECK(again);
    free(again);
}

TEST(mmap_refuses_what_it_cannot_do)
{
    CHECK(mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED);
    CHECK(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 5, 0) == MAP_FAILED);
    CHECK_EQ(errno, ENODEV);
    CHECK_EQ(munmap((void *)0x1000, 4096), -1);
    CHECK_EQ(errno, EINVAL);
}

TEST(unknown_call_is_enosys)
{
    CHECK_EQ(syscall(SYS_open, "/", 0), -1);
    CHECK_EQ(errno, ENOSYS);
}

/* All registers but RAX, RCX, R11, the flags, SSE registers and the red zone outlive a system call. */
TEST(handler_preserves_registers_and_red_zone)
{
    static const char text[] = "# written by a bare system call\n";
    uint64_t in[2] = { 0x1111222233334444, 0x5555666677778888 }, sse[2] = { 0, 0 };
    uint64_t zone, b, di, flags;
    int64_t result;

    __asm__ volatile("movdqu (%[in]), %%xmm5\n"
                     "syscall\n"
                     "movdqu %%xmm5, (%[sse])\n"
                     : "=a"(result)
                     : "a"(1ul), "D"(1ul), "S"(text), "d"(sizeof(text) - 1), [in] "b"(in), [sse] "r"(sse)
                     : "rcx", "r11", "xmm5", "memory");
    CHECK_EQ(result, sizeof(text) - 1);
    CHECK_EQ(memcmp(in, sse, sizeof(in)), 0);
    register uint64_t q15 __asm__("r15") = 0xf1, q10 __asm__("r10") = 0xf2, q9 __asm__("r9") = 0xf3;
    __asm__ volatile("movq $0x66, -128(%%rsp)\n"
                     "movq $0x55, -8(%%rsp)\n"
                     "stc\n"
                     "syscall\n"
                     "sbb %%rdx, %%rdx\n"
                     "movq -128(%%rsp), %%rcx\n"
                     "addq -8(%%rsp), %%rcx\n"
                     : "=a"(result), "=b"(b), "=c"(zone), "=d"(flags), "=D"(di), "+r"(q15), "+r"(q10),
                       "+r"(q9)
                     : "a"(39ul), "b"(0x77ul), "D"(0x1234ul)
                     : "r11", "memory", "cc");
    CHECK(q15 == 0xf1 && q10 == 0xf2 && q9 == 0xf3);
    CHECK_EQ(result, 1);
    CHECK_EQ(b, 0x77);
    CHECK_EQ(di, 0x1234);
    CHECK_EQ(zone, 0xbb);
    CHECK_EQ(flags, UINT64_MAX); /* CF was set and is */
}

TEST(longjmp_and_floating_point)
{
    static jmp_buf place;
    volatile double x = 2;
    int again = setjmp(place);

    CHECK_EQ((int)(sqrt(x) * 1000), 1414);
    if (!again)
        longjmp(place, 3);
    CHECK_EQ(again, 3);
}

/* Output does not disturb a message that is being put together in the IPC buffer. */
TEST(output_leaves_the_ipc_buffer_alone)
{
    struct umbra_ipc_buffer *ipc = (void *)BOOT_IPC_ADDRESS;

    for (unsigned i = 0; i < MSG_WORDS_MAX; i++)
        ipc->words[i] = 0xabc0 + i;
    printf(
        "# a line that is long enough to need more than the four words of a message that registers hold\n");
    for (unsigned i = 0; i < MSG_WORDS_MAX; i++)
        CHECK_EQ(ipc->words[i], 0xabc0 + i);
}
