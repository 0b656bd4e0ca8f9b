/* SPDX-License-Identifier: BSD-2-Clause */
/* What the verifying workload needs to know of 32-bit code: see x86_64.h. An access of eight bytes is one of
 * an SSE register. Addresses are compared as the compiler widens them, with their sign. */
#pragma once
#include "base.h"
#include <sys/utsname.h>

#define AX    "%eax"
#define DX    "%edx"
#define DI    "%edi"
#define SP    "%esp"
#define PUSHF "pushfl"
#define POPF  "popfl"

#define REG_IP      REG_EIP
#define REG_STACK   REG_ESP
#define REG_COUNT   REG_ECX
#define REG_FROM    REG_ESI
#define REG_TO      REG_EDI
#define USER_IP(r)  (r).eip
#define LONG_BYTES  4
#define XMM_BYTES   128
#define FXSAVE      "fxsave"
#define FXRSTOR     "fxrstor"
#define ERR_EXECUTE (fetch_is_told() ? ERR_FETCH : 0)

#define LOAD8            "movq (%edi), %xmm0"
#define STORE8           "movq %xmm0, (%edi)"
#define STORE8_BYTES     4
#define TEST_LONG        "testl $1, (%edi)"
#define PUSH_LONG        "pushl (%edi)\n pop %eax"
#define ADD_LONG         "addl (%edi), %eax"
#define BIT_TEST_LONG    "btl $3, (%edi)"
#define STORE_DIRECT     "movnti %eax, (%edi)"
#define EXCHANGE_LONG    "xchgl %eax, (%edi)"
#define COMPARE_EXCHANGE "lock cmpxchgl %edx, (%edi)"
#define LOAD_ON_STACK    "xchg %edi, %ebp\n movl (%ebp), %eax\n xchg %edi, %ebp"

static const uint64_t kernel_addresses[] = { 0xffffffffc0000000, 0xffffffffc0001000, 0xffffffffc1000000,
                                             0xffffffffdffff000, 0xfffffffff8000000, 0xffffffffffffe000 };
static const uint64_t unmapped_addresses[] = { 0, 0x48, 0x1000 };
#define NON_CANONICALS 0
static const uint64_t non_canonical[] = { 0 };

static const uint64_t sparse_strides[] = { 2ul << 20, 4ul << 20, 16ul << 20 };
static inline uint64_t sparse_base(void)
{
    return 0x20000000 + below(64) * 0x100000ul;
}

/* Access functions take their address in edi, all others on the stack: both. */
void call_with(void (*run)(uint64_t), uint64_t address);
__asm__(".pushsection .text\n"
        "call_with:\n push %ebp\n mov %esp, %ebp\n push %edi\n push %esi\n push %ebx\n push %ebx\n"
        " mov 12(%ebp), %edi\n pushl 16(%ebp)\n pushl %edi\n call *8(%ebp)\n add $12, %esp\n"
        " pop %ebx\n pop %esi\n pop %edi\n pop %ebp\n ret\n"
        ".popsection");
#define CALL_WITH(run, address) call_with(run, address)

/* Tables of two levels have no bit for it, and Linux 6.1 loses it in a process's page of the other ones:
 * there a 32-bit kernel executes whatever is readable, on any machine. */
static inline bool no_execute(void)
{
    struct utsname name;
    return !uname(&name) && !strcmp(name.machine, "x86_64");
}

/* Is the upper part of the addresses the kernel's? Below a 64-bit kernel it is not. */
static inline bool kernel_is_above(void)
{
    return !no_execute();
}

/* Does a fault tell that it was a fetch? With SMEP, or with tables that have a bit against execution. */
static inline bool fetch_is_told(void)
{
    static int known = -1;
    char line[2048];
    FILE *file = known < 0 ? fopen("/proc/cpuinfo", "r") : NULL;

    while (file && fgets(line, sizeof(line), file))
        if (!strncmp(line, "flags", 5))
            known = strstr(line, " smep") || strstr(line, " nx");
    if (file)
        fclose(file);
    return known != 0;
}

static inline void end_alignment_checks(void)
{
    __asm__ volatile("pushfl\n andl $~0x40000, (%%esp)\n popfl" : : : "cc");
}

#define KNOWN_UNIT 0x01234567ul
static const int known_registers[] = { REG_EAX, REG_EBX, REG_ECX, REG_EDX, REG_ESI, REG_EBP };
void store_with_known_registers(uint64_t address, unsigned long *out);
void store_with_known_registers_at(void);
__asm__(".pushsection .text\n"
        "store_with_known_registers:\n"
        " push %ebx\n push %ebp\n push %esi\n push %edi\n mov 20(%esp), %edi\n"
        " mov $0x01234567, %eax\n"
        " lea (%eax,%eax), %ebx\n lea (%ebx,%eax), %ecx\n lea (%ecx,%eax), %edx\n lea (%edx,%eax), %esi\n"
        " lea (%esi,%eax), %ebp\n stc\n"
        "store_with_known_registers_at: movl %ebx, (%edi)\n"
        " mov 28(%esp), %edi\n"
        " movl %eax, (%edi)\n movl %ebx, 4(%edi)\n movl %ecx, 8(%edi)\n movl %edx, 12(%edi)\n"
        " movl %esi, 16(%edi)\n movl %ebp, 20(%edi)\n setc 24(%edi)\n"
        " pop %edi\n pop %esi\n pop %ebp\n pop %ebx\n ret\n"
        " .popsection");

ACCESS(p_read_cr4, "mov %cr4, %eax");
#define PROTECTED_HERE access_p_read_cr4

/* The kernel returns from int $0x80 by IRET. */
void stepped_code(uint8_t *pages);
extern const uint64_t stepped_labels[];
__asm__(
    ".pushsection .text\n"
    "stepped_code:\n push %ebx\n push %esi\n push %edi\n mov 16(%esp), %esi\n"
    " pushfl\n orl $0x100, (%esp)\n popfl\n"
    " nop\n"
    "61: xor %eax, %eax\n"
    "62: cpuid\n"
    "63: rdtsc\n"
    "64: movl $7, (%esi)\n"
    "65: movl 4096(%esi), %eax\n"
    "66: movl %eax, 4096(%esi)\n"
    "67: mov $20, %eax\n" /* getpid */
    "68: int $0x80\n"
    "69: lea 8192(%esi), %edi\n"
    "70: xor %eax, %eax\n"
    "71: pushl 8(%esi)\n"
    "72: pop %eax\n"
    "73: jmp 75f\n"
    "74: nop\n"
    "75: lock incl (%esi)\n"
    "76: xor %ecx, %ecx\n"
    "77: cpuid\n"
    "78: nop\n"
    "79: pushfl\n"
    "80: andl $~0x100, (%esp)\n"
    "81: popfl\n"
    "82: nop\n pop %edi\n pop %esi\n pop %ebx\n ret\n"
    ".popsection\n"
    ".pushsection .rodata\n.balign 8\nstepped_labels:\n"
    " .irp label, 61b, 62b, 63b, 64b, 65b, 66b, 67b, 68b, 70b, 71b, 72b, 73b, 75b, 76b, 77b, 78b, 79b, 80b, "
    "81b, 82b\n .long \\label, 0\n .endr\n"
    " .quad 0\n.popsection");

static inline uint64_t loop_with_all_registers(const volatile int *counter, int until)
{
    static volatile uint32_t bad;

    bad = 0;
    __asm__ volatile(
        "push %%ebp\n"
        "mov $0x1111, %%ebx\n mov $0x2222, %%edx\n mov $0x3333, %%esi\n mov $0x4444, %%ebp\n stc\n"
        "1: jnc 2f\n"
        "lea (%%ebx,%%edx), %%ecx\n lea (%%ecx,%%esi), %%ecx\n lea (%%ecx,%%ebp), %%ecx\n"
        "cmp $0xaaaa, %%ecx\n jne 2f\n"
        "mov (%%edi), %%ecx\n cmp %%eax, %%ecx\n jge 3f\n stc\n jmp 1b\n"
        "2: movl $1, %0\n"
        "3: pop %%ebp"
        : "=m"(bad)
        : "D"(counter), "a"(until)
        : "ebx", "ecx", "edx", "esi", "cc", "memory");
    return bad;
}

static inline long bare_call(long number, long first, long second)
{
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "0"(number), "b"(first), "c"(second) : "memory");
    return result;
}

/* The old call takes seconds and nanoseconds of 32 bits. */
static inline void bare_sleep(void)
{
    static const long time[2] = { 0, 300000 };
    bare_call(SYS_nanosleep, (long)time, 0);
}

static inline void read_leaf_registers(uint64_t *a, uint64_t *b, uint64_t *c, uint64_t *d, uint64_t *others)
{
    uint32_t low[4] = { (uint32_t)*a, (uint32_t)*b, (uint32_t)*c, (uint32_t)*d }, changed;

    __asm__ volatile("mov $0x1234, %%esi\n mov $0x2345, %%edi\n cpuid\n"
                     "xor $0x1234, %%esi\n xor $0x2345, %%edi\n or %%edi, %%esi\n mov %%esi, %4"
                     : "+a"(low[0]), "+b"(low[1]), "+c"(low[2]), "+d"(low[3]), "=m"(changed)
                     :
                     : "esi", "edi", "cc", "memory");
    *a = low[0], *b = low[1], *c = low[2], *d = low[3], *others = changed;
}

#define SYS_MONOTONIC SYS_clock_gettime64

static const uint8_t argument_to_eax[] = { 0x8b, 0x44, 0x24, 0x04 }; /* mov 4(%esp), %eax */
static inline void put_changing_code(uint8_t *at)
{
    static const uint8_t code[] = {
        0x8b, 0x44, 0x24, 0x04,    /* mov 4(%esp), %eax */
        0xa3, 0,    0,    0,    0, /* mov %eax, the operand of the next instruction */
        0xb8, 0,    0,    0,    0, /* mov $.., %eax */
        0xc3,
    };
    uint32_t operand = (uint32_t)(uintptr_t)(at + 10);

    memcpy(at, code, sizeof(code));
    memcpy(at + 5, &operand, 4);
}
