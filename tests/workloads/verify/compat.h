/* SPDX-License-Identifier: BSD-2-Clause */
/* 32-bit and 16-bit code below a 64-bit kernel: far transfers to compatibility mode and back, system calls by
 * int $0x80, segments with base and limit from the local descriptor table. The selectors are the kernel's
 * (arch/x86 ABI: 0x23, 0x2b, 0x33). */
#pragma once
#include "base.h"
#include "faults.h"

#define CS64 0x33
#define CS32 0x23

/* Calls code of another mode at *target with a low stack and its argument in edi; it returns by
 * `far_jump_back`, its result in eax. No far return: QEMU 7.2 reads the stack with the kernel's rights for it
 * and trips over SMAP. */
uint32_t call_in_other_mode(const void *target, uint32_t stack, uint32_t argument);
void back_from_other_mode(void);
__asm__(".pushsection .bss\nother_mode_rsp: .skip 8\n.popsection\n"
        ".pushsection .text\n"
        "call_in_other_mode:\n"
        " push %rbx\n push %rbp\n push %r12\n push %r13\n push %r14\n push %r15\n"
        " mov %rsp, other_mode_rsp(%rip)\n"
        " mov %rdi, %rax\n mov %edx, %edi\n"
        " mov $0x2b, %ecx\n mov %ecx, %ds\n mov %ecx, %es\n" /* 64-bit processes have none */
        " mov %esi, %esp\n"
        " ljmp *(%rax)\n"
        "back_from_other_mode:\n"
        " mov other_mode_rsp(%rip), %rsp\n"
        " pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbp\n pop %rbx\n ret\n"
        ".popsection");

static uint32_t run_in(uint16_t selector, uint32_t code, uint32_t stack, uint32_t argument)
{
    struct {
        uint32_t offset;
        uint16_t selector;
    } __attribute__((packed)) target = { code, selector };

    return call_in_other_mode(&target, stack, argument);
}

/* Copies code, and appends the way back: a far jump with a 32-bit offset. */
static void put_code(uint8_t *at, const uint8_t *bytes, size_t count, bool is_16bit)
{
    uint32_t offset = (uint32_t)(uintptr_t)back_from_other_mode;
    uint16_t selector = CS64;

    memcpy(at, bytes, count);
    at += count;
    if (is_16bit)
        *at++ = 0x66;
    *at++ = 0xea;
    memcpy(at, &offset, 4);
    memcpy(at + 4, &selector, 2);
}

static uint8_t *low_pages(unsigned count)
{
    uint8_t *p = mmap(NULL, count * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    REQUIRE(p != MAP_FAILED && (uint64_t)p < 1ul << 32, "mmap below 4 GB: %s", strerror(errno));
    return p;
}

static uint32_t low(const void *p)
{
    return (uint32_t)(uintptr_t)p;
}

/* inc is a REX prefix in 64-bit code: the result tells which mode ran. */
static void mode_is_32_bit(uint8_t *code, uint32_t stack)
{
    static const uint8_t bytes[] = { 0x89, 0xf8,          /* mov %edi, %eax */
                                     0x40, 0x40,          /* inc %eax; inc %eax */
                                     0x68, 1,    0, 0, 0, /* push $1 (4 bytes) */
                                     0x5a,                /* pop %edx */
                                     0x01, 0xd0 };        /* add %edx, %eax */
    put_code(code, bytes, sizeof(bytes), false);
    uint32_t argument = (uint32_t)random64(), found = run_in(CS32, low(code), stack, argument);
    REQUIRE(found == argument + 3, "32-bit code gave %#x instead of %#x", found, argument + 3);
}

/* int $0x80 from 32-bit code: getpid (20), then write (4) to a pipe. */
static void system_calls_of_32_bit(uint8_t *code, uint32_t stack)
{
    static const uint8_t getpid32[] = { 0xb8, 20, 0, 0, 0, 0xcd, 0x80 };
    static const uint8_t write32[] = { 0xb8, 4,    0, 0, 0, /* mov $4, %eax */
                                       0x89, 0xfb,          /* mov %edi, %ebx: the file */
                                       0xb9, 0,    0, 0, 0, /* mov $address, %ecx */
                                       0xba, 5,    0, 0, 0, /* mov $5, %edx */
                                       0xcd, 0x80 };
    int ends[2];
    char text[8] = { 0 };

    put_code(code, getpid32, sizeof(getpid32), false);
    uint32_t found = run_in(CS32, low(code), stack, 0);
    if (found == (uint32_t)-ENOSYS)
        absent("no 32-bit system calls");
    REQUIRE(found == (uint32_t)getpid(), "getpid of 32-bit code gave %u", found);
    REQUIRE_OK(pipe(ends));
    put_code(code, write32, sizeof(write32), false);
    memcpy(code + 256, "hello", 5);
    uint32_t address = low(code + 256);
    memcpy(code + 8, &address, 4);
    found = run_in(CS32, low(code), stack, (uint32_t)ends[1]);
    REQUIRE(found == 5 && read(ends[0], text, 8) == 5 && !strcmp(text, "hello"),
            "write of 32-bit code gave %d", (int)found);
    close(ends[0]);
    close(ends[1]);
}

/* Faults of 32-bit code: addresses end at 4 GB. */
static uint64_t fault_code, fault_stack;

static void run_faulting_code(uint64_t argument)
{
    run_in(CS32, (uint32_t)fault_code, (uint32_t)fault_stack, (uint32_t)argument);
}

static void faults_of_32_bit(uint8_t *code, uint32_t stack)
{
    static const uint8_t store[] = { 0xc7, 0x07, 1, 0, 0, 0 }; /* movl $1, (%edi) */

    put_code(code, store, sizeof(store), false);
    fault_code = low(code);
    fault_stack = stack;
    REQUIRE(faulting(run_faulting_code, 0x10), "32-bit code wrote to address 16");
    REQUIRE(fault.number == SIGSEGV && fault.code == SEGV_MAPERR && fault.address == 0x10 &&
                fault.error == (ERR_U | ERR_W) && fault.rip == low(code),
            "fault of 32-bit code: signal %d code %d address %#llx error %#llx rip %#llx", fault.number,
            fault.code, (unsigned long long)fault.address, (unsigned long long)fault.error,
            (unsigned long long)fault.rip);
}

struct user_segment { /* modify_ldt(2) */
    uint32_t number, base, limit;
    uint32_t is_32bit : 1, contents : 2, read_exec_only : 1, limit_in_pages : 1, not_present : 1, useable : 1,
        rest : 25;
};

/* 0 or a negated error, which the system call returns as 32 bits, so that the library does not know it for
 * one. */
static int modify_ldt(const struct user_segment *s)
{
    long r = syscall(SYS_modify_ldt, 1, s, sizeof(*s));
    return r < 0 ? -errno : (int)r;
}

static void set_descriptor(const struct user_segment *s)
{
    int error = modify_ldt(s);
    if (error)
        absent("modify_ldt: %s", strerror(-error));
}

/* movl %fs:(%rdi), %eax through a selector of our own, into `segment_value`. */
static uint16_t segment_selector;
static uint32_t segment_value;

static void read_through_segment(uint64_t offset)
{
    /* gs is free in a static program with its thread pointer in fs */
    __asm__ volatile("mov %1, %%gs\n movl %%gs:(%2), %%eax\n mov %%eax, %0\n"
                     : "=m"(segment_value)
                     : "r"((uint32_t)segment_selector), "r"(offset)
                     : "eax", "memory");
}

/* A data segment with a base of its own; base and limit count in 32-bit code, the limit not in 64-bit code.
 */
static void local_descriptors(uint8_t *code, uint32_t stack)
{
    uint32_t *data = (uint32_t *)low_pages(1);
    static const uint8_t load32[] = { 0x8e, 0xe8, 0x65, 0x8b,
                                      0x07 }; /* mov %eax, %gs; mov %gs:(%edi), %eax; lret */
    static uint8_t bytes[10];
    struct user_segment s = { .number = 3, .base = low(data), .limit = 99, .is_32bit = 1, .useable = 1 };

    for (unsigned i = 0; i < PAGE / 4; i++)
        data[i] = 0x5000 + i;
    set_descriptor(&s);
    segment_selector = 3 << 3 | 7;
    read_through_segment(40);
    REQUIRE(segment_value == 0x500a, "64-bit code reads %#x through a local descriptor", segment_value);
    bytes[0] = 0xb8; /* mov $selector, %eax */
    memcpy(bytes + 1, &(uint32_t){ segment_selector }, 4);
    memcpy(bytes + 5, load32, sizeof(load32));
    put_code(code, bytes, sizeof(bytes), false);
    uint32_t found = run_in(CS32, low(code), stack, 96);
    REQUIRE(found == 0x5000 + 24, "32-bit code reads %#x through a local descriptor", found);
    fault_code = low(code);
    fault_stack = stack;
    if (faulting(run_faulting_code,
                 97)) /* an emulator may not check limits; if it does, the fault must be right */
        REQUIRE(fault.number == SIGSEGV && fault.code == SI_KERNEL && fault.trap == TRAP_NO_GP &&
                    fault.error == 0,
                "beyond a limit: signal %d code %d trap %llu", fault.number, fault.code,
                (unsigned long long)fault.trap);
    __asm__ volatile("mov %0, %%gs" : : "r"(0));
    segment_selector = 99 << 3 | 7;
    REQUIRE(faulting(read_through_segment, 0) && fault.trap == TRAP_NO_GP && fault.error == (99 << 3 | 4),
            "a selector without descriptor: trap %llu error %#llx", (unsigned long long)fault.trap,
            (unsigned long long)fault.error);
    munmap(data, PAGE);
}

/* A child has the same local descriptors, and what it changes is its own. */
static void local_descriptors_are_copied(void)
{
    uint32_t *data = (uint32_t *)low_pages(2);
    struct user_segment s = { .number = 5, .base = low(data), .limit = 0xfff, .is_32bit = 1, .useable = 1 };

    data[0] = 11;
    data[1024] = 22;
    set_descriptor(&s);
    segment_selector = 5 << 3 | 7;
    pid_t pid = spawn();
    if (!pid) {
        read_through_segment(0);
        REQUIRE(segment_value == 11, "a child reads %u through its local descriptor", segment_value);
        s.base += (uint32_t)PAGE;
        set_descriptor(&s);
        read_through_segment(0);
        REQUIRE(segment_value == 22, "a child reads %u through its changed descriptor", segment_value);
        _exit(0);
    }
    expect_exit(pid, 0);
    read_through_segment(0);
    REQUIRE(segment_value == 11, "we read %u through our descriptor after a child", segment_value);
    __asm__ volatile("mov %0, %%gs" : : "r"(0));
    munmap(data, 2 * PAGE);
}

/* A 16-bit code segment: operands are 16 bits wide by default. */
static void mode_is_16_bit(uint8_t *code, uint32_t stack)
{
    static const uint8_t bytes[] = { 0x89, 0xf8,   /* mov %di, %ax */
                                     0x05, 1, 0 }; /* add $1, %ax */
    struct user_segment s = { .number = 7, .base = low(code), .limit = 0xffff, .contents = 2, .useable = 1 };

    put_code(code, bytes, sizeof(bytes), true);
    if (modify_ldt(&s))
        return; /* a kernel may refuse 16-bit segments and still have the others */
    uint32_t found = run_in(7 << 3 | 7, 0, stack, 0xffff);
    REQUIRE((found & 0xffff) == 0, "16-bit code gave %#x", found);
}

static void part_compat(void)
{
    uint8_t *code = low_pages(1), *stack = low_pages(4);
    uint32_t top = low(stack) + 4 * (uint32_t)PAGE - 64;

    for (unsigned n = scaled(30); n; n--) {
        mode_is_32_bit(code, top);
        system_calls_of_32_bit(code, top);
        faults_of_32_bit(code, top);
        local_descriptors(code, top);
        local_descriptors_are_copied();
        mode_is_16_bit(code, top);
    }
}
