/* SPDX-License-Identifier: BSD-2-Clause */
/* What the verifying workload needs to know of 64-bit code: names of registers, accesses of every width, code
 * in assembly. i386.h has the same for 32-bit code. */
#pragma once
#include "base.h"

#define AX    "%rax"
#define DX    "%rdx"
#define DI    "%rdi"
#define SP    "%rsp"
#define PUSHF "pushfq"
#define POPF  "popfq"

#define REG_IP      REG_RIP
#define REG_STACK   REG_RSP
#define REG_COUNT   REG_RCX
#define REG_FROM    REG_RSI
#define REG_TO      REG_RDI
#define USER_IP(r)  (r).rip
#define LONG_BYTES  8
#define XMM_BYTES   256 /* of all registers, as FXSAVE has them */
#define FXSAVE      "fxsave64"
#define FXRSTOR     "fxrstor64"
#define ERR_EXECUTE ERR_FETCH
#define CODE_RIGHTS (PROT_READ | PROT_EXEC)

/* What access_* execute. */
#define LOAD8            "movq (%rdi), %rax"
#define STORE8           "movq %rax, (%rdi)"
#define STORE8_BYTES     3 /* of the instruction */
#define TEST_LONG        "testq $1, (%rdi)"
#define PUSH_LONG        "pushq (%rdi)\n pop %rax"
#define ADD_LONG         "addq (%rdi), %rax"
#define BIT_TEST_LONG    "btq $3, (%rdi)"
#define STORE_DIRECT     "movnti %rax, (%rdi)"
#define EXCHANGE_LONG    "xchgq %rax, (%rdi)"
#define COMPARE_EXCHANGE "lock cmpxchgq %rdx, (%rdi)"
#define LOAD_ON_STACK    "xchg %rdi, %rbp\n movq (%rbp), %rax\n xchg %rdi, %rbp"

static const uint64_t kernel_addresses[] = { 0xffff800000000000, 0xffff888000001000, 0xffffc90000000000,
                                             0xffffffff81000000, 0xffffffffffffe000, 0xfffffe0000000000 };
static const uint64_t unmapped_addresses[] = { 0, 0x48, 0x00007fffffffe000 };
#define NON_CANONICALS 4
static const uint64_t non_canonical[] = { 0x0000800000000000, 0x8000000000000000, 0xffff7fffffffff00,
                                          0x1234567812345678 };

/* Distances that need tables of their own at each level, and where to begin. */
static const uint64_t sparse_strides[] = { 2ul << 20, 1ul << 30, 512ul << 30 };
static inline uint64_t sparse_base(void)
{
    return 0x100000000000 + below(64) * 0x10000000ul;
}

/* Access functions take their address in rdi, as all functions do. */
#define CALL_WITH(run, address) (run)(address)

/* Does the kernel keep data from being executed? */
static inline bool no_execute(void)
{
    return true;
}

static inline bool kernel_is_above(void)
{
    return true;
}

static inline void end_alignment_checks(void)
{
    __asm__ volatile(
        "lea -128(%%rsp), %%rsp\n pushfq\n andl $~0x40000, (%%rsp)\n popfq\n lea 128(%%rsp), %%rsp"
        :
        :
        : "cc");
}

/* Fills the registers with 1, 2, 3 .. times a constant, stores rbx at rdi, and puts all of them into
 * out[0..13]. */
#define KNOWN_UNIT 0x0123456789abcdefull
static const int known_registers[] = { REG_RAX, REG_RBX, REG_RCX, REG_RDX, REG_RSI, REG_RBP, REG_R8,
                                       REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15 };
void store_with_known_registers(uint64_t address, unsigned long *out);
void store_with_known_registers_at(void);
__asm__(".pushsection .text\n"
        "store_with_known_registers:\n"
        " push %rbx\n push %rbp\n push %r12\n push %r13\n push %r14\n push %r15\n push %rsi\n"
        " movabs $0x0123456789abcdef, %rax\n"
        " lea (%rax,%rax), %rbx\n lea (%rbx,%rax), %rcx\n lea (%rcx,%rax), %rdx\n lea (%rdx,%rax), %rsi\n"
        " lea (%rsi,%rax), %rbp\n lea (%rbp,%rax), %r8\n lea (%r8,%rax), %r9\n lea (%r9,%rax), %r10\n"
        " lea (%r10,%rax), %r11\n lea (%r11,%rax), %r12\n lea (%r12,%rax), %r13\n lea (%r13,%rax), %r14\n"
        " lea (%r14,%rax), %r15\n"
        " stc\n"
        "store_with_known_registers_at: movq %rbx, (%rdi)\n"
        " xchg %rdi, (%rsp)\n" /* rdi: out; the address waits on the stack */
        " movq %rax, (%rdi)\n movq %rbx, 8(%rdi)\n movq %rcx, 16(%rdi)\n movq %rdx, 24(%rdi)\n"
        " movq %rsi, 32(%rdi)\n movq %rbp, 40(%rdi)\n movq %r8, 48(%rdi)\n movq %r9, 56(%rdi)\n"
        " movq %r10, 64(%rdi)\n movq %r11, 72(%rdi)\n movq %r12, 80(%rdi)\n movq %r13, 88(%rdi)\n"
        " movq %r14, 96(%rdi)\n movq %r15, 104(%rdi)\n"
        " setc 112(%rdi)\n"
        " pop %rdi\n pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbp\n pop %rbx\n ret\n"
        " .popsection");

/* Instructions that only 64-bit code has, or that mean something else in 32-bit code. */
ACCESS(p_read_cr8, "mov %cr8, %rax");
ACCESS(p_swapgs, "swapgs");
ACCESS(p_sysret, "sysretq");
#define PROTECTED_HERE access_p_read_cr8, access_p_swapgs, access_p_sysret

/* Each label is where a trap must report to be: after the instruction before it. rdi: a fresh page of four.
 * The kernel returns from a system call by IRETQ while TF is set, and that traps only after one more
 * instruction.
 */
void stepped_code(uint8_t *pages);
extern const uint64_t stepped_labels[];
__asm__(".pushsection .text\n"
        "stepped_code:\n push %rbx\n push %r12\n push %r13\n mov %rdi, %r12\n"
        " pushfq\n orl $0x100, (%rsp)\n popfq\n"
        " nop\n"
        "61: xor %eax, %eax\n"
        "62: cpuid\n"
        "63: rdtsc\n"
        "64: movq $7, (%r12)\n"       /* first touch of a page */
        "65: movq 4096(%r12), %rax\n" /* the zero page */
        "66: movq %rax, 4096(%r12)\n" /* then a page of our own */
        "67: mov $39, %eax\n"         /* getpid */
        "68: syscall\n"
        "69: lea 8192(%r12), %rdi\n"
        "70: xor %eax, %eax\n"
        "71: pushq 8(%r12)\n"
        "72: pop %rax\n"
        "73: jmp 75f\n"
        "74: nop\n"
        "75: lock incq (%r12)\n"
        "76: xor %ecx, %ecx\n"
        "77: cpuid\n"
        "78: nop\n"
        "79: pushfq\n"
        "80: andl $~0x100, (%rsp)\n"
        "81: popfq\n"
        "82: nop\n pop %r13\n pop %r12\n pop %rbx\n ret\n"
        ".popsection\n"
        ".pushsection .rodata\n.balign 8\nstepped_labels:\n"
        " .quad 61b, 62b, 63b, 64b, 65b, 66b, 67b, 68b, 70b, 71b, 72b, 73b, 75b, 76b, 77b, 78b, 79b, "
        "80b, 81b, 82b\n"
        " .quad 0\n.popsection");

/* Registers and flags of a loop that never calls anything, while signals arrive: each turn checks what the
 * last one left. */
static inline uint64_t loop_with_all_registers(const volatile int *counter, int until)
{
    uint64_t bad = 0;

    __asm__ volatile("mov $0x1111, %%rbx\n mov $0x2222, %%rdx\n mov $0x3333, %%rsi\n mov $0x4444, %%r8\n"
                     "mov $0x5555, %%r9\n mov $0x6666, %%r10\n mov $0x7777, %%r11\n mov $0x8888, %%r12\n"
                     "mov $0x9999, %%r13\n mov $0xaaaa, %%r14\n mov $0xbbbb, %%r15\n stc\n"
                     "1: jnc 2f\n"
                     "lea (%%rbx,%%rdx), %%rcx\n lea (%%rcx,%%rsi), %%rcx\n lea (%%rcx,%%r8), %%rcx\n"
                     "lea (%%rcx,%%r9), %%rcx\n lea (%%rcx,%%r10), %%rcx\n lea (%%rcx,%%r11), %%rcx\n"
                     "lea (%%rcx,%%r12), %%rcx\n lea (%%rcx,%%r13), %%rcx\n lea (%%rcx,%%r14), %%rcx\n"
                     "lea (%%rcx,%%r15), %%rcx\n"
                     "cmp $0x46662, %%rcx\n jne 2f\n"
                     "mov (%%rdi), %%ecx\n cmp %%eax, %%ecx\n jge 3f\n stc\n jmp 1b\n"
                     "2: movq $1, %0\n"
                     "3:"
                     : "+m"(bad)
                     : "D"(counter), "a"(until)
                     : "rbx", "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "cc",
                       "memory");
    return bad;
}

/* System calls without the library, so that no compiled code touches registers of the FPU meanwhile. */
static inline long bare_call(long number, long first, long second)
{
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "0"(number), "D"(first), "S"(second)
                     : "rcx", "r11", "memory");
    return result;
}

static inline void bare_sleep(void)
{
    static const struct timespec time = { 0, 300000 };
    bare_call(SYS_nanosleep, (long)&time, 0);
}

static inline void read_leaf_registers(uint64_t *a, uint64_t *b, uint64_t *c, uint64_t *d, uint64_t *others)
{
    __asm__ volatile("mov $0x1234, %%rsi\n mov $0x2345, %%rdi\n mov $0x3456, %%r8\n mov $0x4567, %%r9\n mov "
                     "$0x5678, %%r15\n"
                     "cpuid\n"
                     "xor $0x1234, %%rsi\n xor $0x2345, %%rdi\n xor $0x3456, %%r8\n xor $0x4567, %%r9\n xor "
                     "$0x5678, %%r15\n"
                     "or %%rdi, %%rsi\n or %%r8, %%rsi\n or %%r9, %%rsi\n or %%r15, %%rsi\n mov %%rsi, %4"
                     : "+a"(*a), "+b"(*b), "+c"(*c), "+d"(*d), "=m"(*others)
                     :
                     : "rsi", "rdi", "r8", "r9", "r15", "cc", "memory");
}

#define SYS_MONOTONIC SYS_clock_gettime

/* The argument of a function into eax, and code that changes the operand of its second instruction. */
static const uint8_t argument_to_eax[] = { 0x89, 0xf8 };
static inline void put_changing_code(uint8_t *at)
{
    static const uint8_t code[] = {
        0x89, 0x3d, 1, 0, 0, 0, /* mov %edi, 1(%rip): the operand of the next instruction */
        0xb8, 0,    0, 0, 0,    /* mov $.., %eax */
        0xc3,
    };
    memcpy(at, code, sizeof(code));
}
