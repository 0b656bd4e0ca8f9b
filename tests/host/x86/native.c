/* SPDX-License-Identifier: BSD-2-Clause */
/* Native execution of single instructions; see native.h. A signal's handler stores the registers of the fault
 * and leaves by the same way as an instruction that went well; it has a stack of its own, RSP may be
 * anything. */
#define _GNU_SOURCE /* REG_RAX */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "native.h"

void native_enter(struct native_state *state);
extern const char native_return[], native_branch[], native_leave[];
extern uint64_t native_host_rsp;
static struct native_state *running;

/* rsp, state: RSP of the host and the state while the instruction runs. MOV changes no flags. */
__asm__(".text\n"
        "native_enter:\n"
        "    push %rbx\n    push %rbp\n    push %r12\n    push %r13\n    push %r14\n    push %r15\n"
        "    mov %rsp, native_host_rsp(%rip)\n"
        "    mov %rdi, native_host_state(%rip)\n"
        "    pushq 128(%rdi)\n    popfq\n"
        "    mov 0(%rdi), %rax\n    mov 8(%rdi), %rcx\n    mov 16(%rdi), %rdx\n    mov 24(%rdi), %rbx\n"
        "    mov 32(%rdi), %rsp\n    mov 40(%rdi), %rbp\n    mov 48(%rdi), %rsi\n"
        "    mov 64(%rdi), %r8\n    mov 72(%rdi), %r9\n    mov 80(%rdi), %r10\n    mov 88(%rdi), %r11\n"
        "    mov 96(%rdi), %r12\n    mov 104(%rdi), %r13\n    mov 112(%rdi), %r14\n    mov 120(%rdi), %r15\n"
        "    mov 56(%rdi), %rdi\n"
        "    ljmp *native_target(%rip)\n"
        "native_branch:\n"
        "    movq $1, native_branched(%rip)\n"
        "native_return:\n"
        "    mov %rax, native_rax(%rip)\n"
        "    mov native_host_state(%rip), %rax\n"
        "    mov %rcx, 8(%rax)\n    mov %rdx, 16(%rax)\n    mov %rbx, 24(%rax)\n    mov %rsp, 32(%rax)\n"
        "    mov %rbp, 40(%rax)\n    mov %rsi, 48(%rax)\n    mov %rdi, 56(%rax)\n"
        "    mov %r8, 64(%rax)\n    mov %r9, 72(%rax)\n    mov %r10, 80(%rax)\n    mov %r11, 88(%rax)\n"
        "    mov %r12, 96(%rax)\n    mov %r13, 104(%rax)\n    mov %r14, 112(%rax)\n    mov %r15, 120(%rax)\n"
        "    mov native_rax(%rip), %rcx\n    mov %rcx, 0(%rax)\n"
        "    mov native_host_rsp(%rip), %rsp\n"
        "    pushfq\n    popq 128(%rax)\n"
        "native_leave:\n"
        "    cld\n"
        "    pop %r15\n    pop %r14\n    pop %r13\n    pop %r12\n    pop %rbp\n    pop %rbx\n"
        "    ret\n"
        ".data\n"
        ".balign 8\n"
        "native_host_rsp: .quad 0\n"
        "native_host_state: .quad 0\n"
        "native_target: .long 0x30000000, 0\n"
        "native_branched: .quad 0\n"
        "native_rax: .quad 0\n"
        ".text\n");
extern uint64_t native_branched;
extern uint32_t native_target[2]; /* m16:32 */

/* Linux' selectors of user segments. */
#define CODE32   0x23
#define CODE64   0x33
#define DATA32   0x2b
#define RETURN32 (NATIVE_CODE + 0xc00) /* 64-bit code where 32-bit code comes back */
#define BRANCH32 (NATIVE_CODE + 0xd00)

static void die(const char *what)
{
    perror(what);
    exit(1);
}

/* A fault elsewhere is a mistake of the test: nothing can be trusted any more. */
static _Noreturn void give_up(uint64_t rip)
{
    fprintf(stderr, "native: fault at %#lx, code", rip);
    for (unsigned i = 0; i < 16; i++)
        fprintf(stderr, " %02x", ((const uint8_t *)NATIVE_CODE)[i]);
    fprintf(stderr, "\n");
    _exit(98);
}

/* Linux' names of the registers, in encoding order. */
static void on_fault(int signal, siginfo_t *info, void *context)
{
    static const int order[16] = { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                   REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15 };
    greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;
    (void)signal;
    (void)info;
    if (!running || (uint64_t)g[REG_RIP] - NATIVE_CODE >= 4096)
        give_up((uint64_t)g[REG_RIP]);
    for (unsigned i = 0; i < 16; i++)
        running->gpr[i] = (uint64_t)g[order[i]];
    running->rflags = (uint64_t)g[REG_EFL];
    running->rip = (uint64_t)g[REG_RIP];
    running->fault = (uint64_t)g[REG_TRAPNO] + 1;
    g[REG_RSP] = (greg_t)native_host_rsp;
    g[REG_RIP] = (greg_t)native_leave;
    g[REG_EFL] = 0x202;
    g[REG_CSGSFS] = (g[REG_CSGSFS] & ~0xffff) | CODE64;
}

/* JMP [RIP + 0]; the address */
static void put_jump(uint64_t at, const char *to)
{
    static const uint8_t jump[6] = { 0xff, 0x25, 0, 0, 0, 0 };
    memcpy((void *)at, jump, sizeof(jump));
    memcpy((void *)(at + sizeof(jump)), &to, sizeof(to));
}

/* LJMP CODE64:to, in 32-bit code */
static void put_far_jump(uint64_t at, uint32_t to)
{
    uint8_t jump[7] = { 0xea, 0, 0, 0, 0, CODE64, 0 };
    memcpy(&jump[1], &to, sizeof(to));
    memcpy((void *)at, jump, sizeof(jump));
}

static void map_at(uint64_t at, size_t bytes, int protection)
{
    void *p = mmap((void *)at, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (p != (void *)at)
        die("mmap");
}

void native_init(void)
{
    static uint8_t stack[65536];
    static const int signals[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP };
    stack_t alternate = { .ss_sp = stack, .ss_size = sizeof(stack) };
    struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK };
    map_at(NATIVE_CODE, 4096, PROT_READ | PROT_WRITE | PROT_EXEC);
    map_at(NATIVE_DATA, NATIVE_BYTES, PROT_READ | PROT_WRITE);
    memset((void *)NATIVE_CODE, 0xcc, 4096);
    put_jump(RETURN32, native_return);
    put_jump(BRANCH32, native_branch);
    __asm__ volatile("mov %0, %%ds\n mov %0, %%es" : : "r"(DATA32)); /* null in 64-bit processes */
    if (sigaltstack(&alternate, NULL))
        die("sigaltstack");
    for (unsigned i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        if (sigaction(signals[i], &action, NULL))
            die("sigaction");
}

void native_run(const uint8_t *code, unsigned bytes, bool wide, struct native_state *state)
{
    memcpy((void *)NATIVE_CODE, code, bytes);
    if (wide) {
        put_jump(NATIVE_CODE + bytes, native_return);
        put_jump(NATIVE_BRANCH, native_branch);
    } else {
        put_far_jump(NATIVE_CODE + bytes, RETURN32);
        put_far_jump(NATIVE_BRANCH, BRANCH32);
    }
    native_target[1] = wide ? CODE64 : CODE32;
    state->fault = 0;
    native_branched = 0;
    running = state;
    native_enter(state);
    running = NULL;
    if (!state->fault)
        state->rip = native_branched ? NATIVE_BRANCH : NATIVE_CODE + bytes;
}
