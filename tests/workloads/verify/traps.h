/* SPDX-License-Identifier: BSD-2-Clause */
/* Exceptions other than page faults: arithmetic, invalid and privileged instructions, breakpoints, single
 * steps, debug registers, files that end before their mapping, and signals in general. Where an emulated
 * processor is known to differ from a real one, both behaviours are accepted, and the place says so. */
#pragma once
#include "base.h"
#include "faults.h"
#include <stddef.h>
#include <sys/ptrace.h>
#include <sys/user.h>

enum { TRAP_NO_DE = 0, TRAP_NO_DB = 1, TRAP_NO_BP = 3, TRAP_NO_UD = 6, TRAP_NO_MF = 16, TRAP_NO_AC = 17 };

/* --- traps --- */

ACCESS(divide_by_zero, "xor %ecx, %ecx\n divl %ecx");
ACCESS(divide_overflow, "mov $0x80000000, %eax\n cltd\n mov $-1, %ecx\n idivl %ecx");
ACCESS(undefined, "ud2");
ACCESS(breakpoint, "int3");
ACCESS(breakpoint_long, ".byte 0xcd, 3");
ACCESS(gate_without_right, "int $0x21");
ACCESS(x87_divide, "fldz\n fld1\n fdivp\n fwait\n fstp %st(0)");
ACCESS(misaligned, PUSHF "\n orl $0x40000, (" SP ")\n " POPF "\n movl 1(" DI "), %eax\n " PUSHF
                         "\n andl $~0x40000, (" SP ")\n " POPF);

/* What a trap must look like; rip is that of the function plus `offset`. */
struct trap {
    const char *name;
    void (*run)(uint64_t);
    int number, code;
    uint64_t trap, error, offset;
    bool address_is_rip;
    uint64_t other_error; /* of QEMU 7.2, which takes the gate for one of 16 bytes in the error code, too */
};

static const struct trap traps[] = {
    { "divide by zero", access_divide_by_zero, SIGFPE, FPE_INTDIV, TRAP_NO_DE, 0, 2, true, 0 },
    { "divide overflow", access_divide_overflow, SIGFPE, FPE_INTDIV, TRAP_NO_DE, 0, 11, true, 0 },
    { "undefined instruction", access_undefined, SIGILL, ILL_ILLOPN, TRAP_NO_UD, 0, 0, true, 0 },
    { "int3", access_breakpoint, SIGTRAP, SI_KERNEL, TRAP_NO_BP, 0, 1, false, 0 },
    { "int $3", access_breakpoint_long, SIGTRAP, SI_KERNEL, TRAP_NO_BP, 0, 2, false, 0 },
    { "int $0x21", access_gate_without_right, SIGSEGV, SI_KERNEL, TRAP_NO_GP, 0x21 * 8 + 2, 0, false,
      0x21 * 16 + 2 },
};

static void require_trap(const struct trap *t)
{
    uint64_t rip = (uint64_t)t->run + t->offset;

    REQUIRE(faulting(t->run, 0), "%s: no signal", t->name);
    REQUIRE(fault.number == t->number && fault.code == t->code && fault.trap == t->trap &&
                (fault.error == t->error || fault.error == t->other_error),
            "%s: signal %d code %d trap %llu error %#llx", t->name, fault.number, fault.code,
            (unsigned long long)fault.trap, (unsigned long long)fault.error);
    REQUIRE(fault.rip == rip, "%s: rip %#llx instead of %#llx", t->name, (unsigned long long)fault.rip,
            (unsigned long long)rip);
    REQUIRE(fault.address == (t->address_is_rip ? rip : 0), "%s: address %#llx", t->name,
            (unsigned long long)fault.address);
}

static void floating_point_traps(void)
{
    uint16_t control = 0x37b, usual = 0x37f; /* division by zero unmasked */

    __asm__ volatile("fninit\n fldcw %0" : : "m"(control));
    bool faulted = faulting(access_x87_divide, 0);
    __asm__ volatile("fninit\n fldcw %0" : : "m"(usual));
    REQUIRE(faulted && fault.number == SIGFPE && fault.code == FPE_FLTDIV && fault.trap == TRAP_NO_MF,
            "x87 division: signal %d code %d trap %llu", fault.number, fault.code,
            (unsigned long long)fault.trap);
}

/* An emulator may not check alignment; if the check is made, its signal must be right. */
static void alignment_trap(void)
{
    uint64_t word[2] = { 0 };

    if (faulting(access_misaligned, (uint64_t)word))
        REQUIRE(fault.number == SIGBUS && fault.code == BUS_ADRALN && fault.trap == TRAP_NO_AC &&
                    fault.error == 0,
                "misaligned: signal %d code %d trap %llu", fault.number, fault.code,
                (unsigned long long)fault.trap);
    end_alignment_checks();
}

static void end_of_file_trap(void)
{
    int file = anonymous_file(PAGE);
    uint8_t *at = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    uint64_t bad = (uint64_t)at + PAGE + 8;

    REQUIRE(at != MAP_FAILED, "mmap: %s", strerror(errno));
    for (unsigned i = 0; i < 2; i++) {
        stamp_page(at, 5);
        REQUIRE(faulting(i ? access_write8 : access_read8, bad) && fault.number == SIGBUS &&
                    fault.code == BUS_ADRERR && fault.address == bad,
                "past the end of a file: signal %d code %d", fault.number, fault.code);
    }
    REQUIRE_OK(ftruncate(file, 0));
    REQUIRE(faulting(access_read8, (uint64_t)at) && fault.number == SIGBUS,
            "a truncated page is still there");
    REQUIRE_OK(ftruncate(file, PAGE));
    check_zero(at, "after truncation");
    munmap(at, 2 * PAGE);
    close(file);
}

static void part_traps(void)
{
    for (unsigned n = scaled(50); n; n--) {
        for (unsigned i = 0; i < COUNT(traps); i++)
            require_trap(&traps[i]);
        floating_point_traps();
        alignment_trap();
        end_of_file_trap();
    }
}

/* --- privileged: what a process may not do ends in a signal, with the instruction not executed --- */

ACCESS(p_hlt, "hlt");
ACCESS(p_cli, "cli");
ACCESS(p_sti, "sti");
ACCESS(p_in, "in $0x80, %al");
ACCESS(p_out, "out %al, $0x80");
ACCESS(p_outs, "outsb");
ACCESS(p_read_cr0, "mov %cr0, " AX);
ACCESS(p_read_cr3, "mov %cr3, " AX);
ACCESS(p_write_cr3, "mov " AX ", %cr3");
ACCESS(p_read_dr7, "mov %dr7, " AX);
ACCESS(p_clts, "clts");
ACCESS(p_lmsw, "lmsw %ax");
ACCESS(p_lgdt, "lgdt (" SP ")");
ACCESS(p_lidt, "lidt (" SP ")");
ACCESS(p_ltr, "ltr %ax");
ACCESS(p_invlpg, "invlpg (" SP ")");
ACCESS(p_wbinvd, "wbinvd");
ACCESS(p_invd, "invd");
ACCESS(p_rdmsr, "rdmsr");
ACCESS(p_wrmsr, "wrmsr");
ACCESS(p_vmmcall, "vmmcall");
ACCESS(p_vmrun, "vmrun");
ACCESS(p_vmload, "vmload");
ACCESS(p_stgi, "stgi");
ACCESS(p_clgi, "clgi");
ACCESS(p_skinit, "skinit");
ACCESS(p_rsm, "rsm");

static void (*const protected_instructions[])(uint64_t) = {
    access_p_hlt,    access_p_cli,      access_p_sti,      access_p_in,        access_p_out,
    access_p_outs,   access_p_read_cr0, access_p_read_cr3, access_p_write_cr3, access_p_read_dr7,
    access_p_clts,   access_p_lmsw,     access_p_lgdt,     access_p_lidt,      access_p_ltr,
    access_p_invlpg, access_p_wbinvd,   access_p_invd,     access_p_rdmsr,     access_p_wrmsr,
    PROTECTED_HERE
};

/* Undefined where virtualization is off, protected where it is on. */
static void (*const virtualization_instructions[])(uint64_t) = { access_p_vmrun,  access_p_vmload,
                                                                 access_p_stgi,   access_p_clgi,
                                                                 access_p_skinit, access_p_rsm };

static void part_privileged(void)
{
    for (unsigned n = scaled(40); n; n--) {
        for (unsigned i = 0; i < COUNT(protected_instructions); i++) {
            REQUIRE(faulting(protected_instructions[i], 0), "protected instruction %u was executed", i);
            REQUIRE(fault.number == SIGSEGV && fault.code == SI_KERNEL && fault.trap == TRAP_NO_GP &&
                        fault.error == 0 && fault.rip == (uint64_t)protected_instructions[i],
                    "protected instruction %u: signal %d code %d trap %llu error %#llx", i, fault.number,
                    fault.code, (unsigned long long)fault.trap, (unsigned long long)fault.error);
        }
        for (unsigned i = 0; i < COUNT(virtualization_instructions); i++)
            REQUIRE(faulting(virtualization_instructions[i], 0) &&
                        fault.rip == (uint64_t)virtualization_instructions[i] &&
                        (fault.trap == TRAP_NO_UD || fault.trap == TRAP_NO_GP),
                    "virtualization instruction %u: trap %llu", i, (unsigned long long)fault.trap);
        if (faulting(access_p_vmmcall,
                     0)) /* a call to a hypervisor that has none to offer; some answer it with an error */
            REQUIRE(fault.number == SIGILL && fault.trap == TRAP_NO_UD, "vmmcall: signal %d trap %llu",
                    fault.number, (unsigned long long)fault.trap);
    }
}

/* --- step: one trap after each instruction, also those that a monitor emulates or that fault on the way ---
 */

#define STEPS 64

static uint64_t step_rip[STEPS];
static unsigned step_count;
static uint8_t *step_page; /* never touched before: the stepped code faults on it */

static bool record_step(const struct fault *f, ucontext_t *context)
{
    (void)context;
    if (f->number != SIGTRAP)
        return false;
    REQUIRE(f->code == TRAP_TRACE && f->trap == TRAP_NO_DB, "single step: code %d trap %llu", f->code,
            (unsigned long long)f->trap);
    if (step_count < STEPS)
        step_rip[step_count] = f->rip;
    step_count++;
    return true;
}

static void part_step(void)
{
    fault_repair = record_step;
    for (unsigned n = scaled(20); n; n--) {
        unsigned wanted = 0;
        step_page = map(4 * PAGE, PROT_READ | PROT_WRITE, 0);
        step_count = 0;
        stepped_code(step_page);
        while (stepped_labels[wanted])
            wanted++;
        for (unsigned i = 0; i < wanted && i < step_count; i++)
            REQUIRE(step_rip[i] == stepped_labels[i],
                    "step %u of %u: rip %#llx instead of %#llx (code at %#llx)", i, step_count,
                    (unsigned long long)step_rip[i], (unsigned long long)stepped_labels[i],
                    (unsigned long long)(uint64_t)stepped_code);
        REQUIRE(step_count == wanted, "%u steps instead of %u", step_count, wanted);
        REQUIRE(*(uint32_t *)step_page == 8, "stepped code computed %llu",
                (unsigned long long)*(uint32_t *)step_page);
        munmap(step_page, 4 * PAGE);
    }
}

/* --- debug: a debugger changes, stops, steps and watches its child --- */

static volatile uint64_t watched[4];

__attribute__((noinline)) static uint64_t debugged_function(uint64_t x)
{
    watched[1] = x;
    __asm__ volatile("" : : : "memory");
    watched[0] = x * 3;
    return x + 1;
}

static _Noreturn void debugged_child(void)
{
    REQUIRE_OK(ptrace(PTRACE_TRACEME, 0, NULL, NULL));
    signal(SIGTRAP, SIG_DFL);
    raise(SIGSTOP);
    for (uint64_t i = 0; i < 3; i++)
        debugged_function(i);
    _exit(watched[0] == 6 ? 11 : 12);
}

static void expect_stop(pid_t pid, int number, const char *when)
{
    int status = status_of(pid);
    REQUIRE(WIFSTOPPED(status) && WSTOPSIG(status) == number, "%s: wait status %#x", when, status);
}

static void set_debug_register(pid_t pid, unsigned number, uint64_t value)
{
    size_t offset = offsetof(struct user, u_debugreg) + number * sizeof(long);
    if (ptrace(PTRACE_POKEUSER, pid, (void *)offset, (void *)(uintptr_t)value) < 0)
        absent("debug register %u cannot be set: %s", number, strerror(errno));
}

static uint64_t debug_register(pid_t pid, unsigned number)
{
    errno = 0;
    uint64_t value = (uint64_t)ptrace(
        PTRACE_PEEKUSER, pid, (void *)(offsetof(struct user, u_debugreg) + number * sizeof(long)), NULL);
    REQUIRE(!errno, "PTRACE_PEEKUSER: %s", strerror(errno));
    return value;
}

static void resume(int how, pid_t pid)
{
    REQUIRE(!ptrace(how, pid, NULL, NULL), "ptrace %d: %s", how, strerror(errno));
}

static uint64_t child_rip(pid_t pid)
{
    struct user_regs_struct r;
    REQUIRE(!ptrace(PTRACE_GETREGS, pid, NULL, &r), "PTRACE_GETREGS: %s", strerror(errno));
    return USER_IP(r);
}

static void watch_writes_and_execution(void)
{
    pid_t pid = spawn();

    if (!pid)
        debugged_child();
    expect_stop(pid, SIGSTOP, "start");
    set_debug_register(pid, 0, (uint64_t)&watched[0]);
    set_debug_register(pid, 1, (uint64_t)debugged_function);
    set_debug_register(pid, 7, 0x1 | 0x4 | 0xdul << 16); /* DR0: writes of 4 bytes; DR1: execution */
    for (unsigned i = 0; i < 3; i++) {
        resume(PTRACE_CONT, pid);
        int status = status_of(pid);
        if (!i && WIFEXITED(status)) /* QEMU 7.2 loads DR7 at VMRUN without arming what it names */
            absent("hardware breakpoints do not fire");
        REQUIRE(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP, "hardware breakpoint: wait status %#x",
                status);
        REQUIRE(child_rip(pid) == (uint64_t)debugged_function && (debug_register(pid, 6) & 15) == 2,
                "hardware breakpoint: rip %#llx dr6 %#llx", (unsigned long long)child_rip(pid),
                (unsigned long long)debug_register(pid, 6));
        resume(PTRACE_CONT, pid);
        expect_stop(pid, SIGTRAP, "watchpoint");
        errno = 0;
        uint64_t value = (uint64_t)ptrace(PTRACE_PEEKDATA, pid, (void *)&watched[0], NULL);
        REQUIRE(!errno && value == i * 3 && (debug_register(pid, 6) & 15) == 1,
                "watchpoint %u: value %llu dr6 %#llx", i, (unsigned long long)value,
                (unsigned long long)debug_register(pid, 6));
    }
    resume(PTRACE_CONT, pid);
    expect_exit(pid, 11);
}

static void plant_breakpoint_and_step(void)
{
    pid_t pid = spawn();
    struct user_regs_struct r;

    if (!pid)
        debugged_child();
    expect_stop(pid, SIGSTOP, "start");
    errno = 0;
    long text = ptrace(PTRACE_PEEKTEXT, pid, (void *)debugged_function, NULL);
    REQUIRE(!errno && !memcmp(&text, (void *)debugged_function, sizeof(text)),
            "PTRACE_PEEKTEXT reads something else");
    REQUIRE_OK(ptrace(PTRACE_POKETEXT, pid, (void *)debugged_function, (void *)((text & ~0xffl) | 0xcc)));
    REQUIRE(*(uint8_t *)debugged_function == (uint8_t)text,
            "a breakpoint in the child is also in the parent");
    resume(PTRACE_CONT, pid);
    expect_stop(pid, SIGTRAP, "planted breakpoint");
    REQUIRE(child_rip(pid) == (uint64_t)debugged_function + 1, "planted breakpoint: rip %#llx",
            (unsigned long long)child_rip(pid));
    REQUIRE_OK(ptrace(PTRACE_POKETEXT, pid, (void *)debugged_function, (void *)text));
    REQUIRE_OK(ptrace(PTRACE_GETREGS, pid, NULL, &r));
    USER_IP(r)--;
    REQUIRE_OK(ptrace(PTRACE_SETREGS, pid, NULL, &r));
    uint64_t before = USER_IP(r);
    for (unsigned i = 0; i < 8; i++) {
        resume(PTRACE_SINGLESTEP, pid);
        expect_stop(pid, SIGTRAP, "single step");
        REQUIRE(child_rip(pid) != before, "a single step did not move");
        before = child_rip(pid);
    }
    resume(PTRACE_CONT, pid);
    expect_exit(pid, 11);
}

static void part_debug(void)
{
    for (unsigned n = scaled(5); n; n--) {
        plant_breakpoint_and_step();
        watch_writes_and_execution();
    }
}

/* --- signals: delivery, order, masks, nesting, and everything restored after a handler --- */

static volatile sig_atomic_t signals_seen;
static volatile uint64_t signal_order[64];

static void count_signal(int number)
{
    (void)number;
    signals_seen++;
}

static void record_value(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)context;
    if (signals_seen < 64)
        signal_order[signals_seen] = (uint64_t)info->si_value.sival_int;
    signals_seen++;
}

/* Queued signals arrive once each: lowest number first, in order within a number. */
static void queued_signals_keep_order(void)
{
    struct sigaction action = { .sa_sigaction = record_value, .sa_flags = SA_SIGINFO };
    int low = SIGRTMIN + 1, high = SIGRTMIN + 2;
    sigset_t both, old;

    sigfillset(&action.sa_mask);
    sigaction(low, &action, NULL);
    sigaction(high, &action, NULL);
    sigemptyset(&both);
    sigaddset(&both, low);
    sigaddset(&both, high);
    REQUIRE_OK(sigprocmask(SIG_BLOCK, &both, &old));
    signals_seen = 0;
    for (int i = 0; i < 20; i++)
        REQUIRE_OK(sigqueue(getpid(), i % 2 ? low : high, (union sigval){ .sival_int = i }));
    REQUIRE(signals_seen == 0, "a blocked signal was delivered");
    REQUIRE_OK(sigprocmask(SIG_SETMASK, &old, NULL));
    REQUIRE(signals_seen == 20, "%d of 20 queued signals arrived", (int)signals_seen);
    for (unsigned i = 0; i < 20; i++)
        REQUIRE(signal_order[i] == (i < 10 ? 2 * i + 1 : 2 * (i - 10)), "queued signal %u has value %llu", i,
                (unsigned long long)signal_order[i]);
}

static void nested(int number)
{
    signals_seen++;
    if (number < SIGRTMIN + 12)
        raise(number + 1);
    signals_seen++;
}

static void handlers_nest(void)
{
    struct sigaction action = { .sa_handler = nested };

    for (int number = SIGRTMIN + 3; number <= SIGRTMIN + 12; number++)
        sigaction(number, &action, NULL);
    signals_seen = 0;
    raise(SIGRTMIN + 3);
    REQUIRE(signals_seen == 20, "nested handlers: %d of 20 steps", (int)signals_seen);
}

/* Signals between two processes, a turn each. */
static void signals_between_processes(void)
{
    struct sigaction action = { .sa_handler = count_signal };
    sigset_t usr1, old;
    unsigned turns = scaled(100);

    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    sigaction(SIGUSR1, &action, NULL);
    sigprocmask(SIG_BLOCK, &usr1, &old);
    pid_t us = getpid(), pid = spawn(), other = pid ? pid : us;
    sigset_t open = old;
    sigdelset(&open, SIGUSR1);
    signals_seen = 0;
    for (unsigned i = 0; i < turns; i++) {
        if (pid)
            REQUIRE_OK(kill(other, SIGUSR1));
        while ((unsigned)signals_seen <= i)
            sigsuspend(&open);
        if (!pid)
            REQUIRE_OK(kill(other, SIGUSR1));
    }
    REQUIRE((unsigned)signals_seen == turns, "%d signals instead of %u", (int)signals_seen, turns);
    if (!pid)
        _exit(0);
    expect_exit(pid, 0);
    sigprocmask(SIG_SETMASK, &old, NULL);
}

/* A fault inside the handler of a fault. */
static bool inner_fault(const struct fault *f, ucontext_t *context)
{
    if (f->address == 0x1000) {
        volatile uint64_t inner = 0;
        fault_armed = false;
        repairs++;
        *(volatile uint64_t *)0x2000 = inner;
        context->uc_mcontext.gregs[REG_IP] += STORE8_BYTES;
        return true;
    }
    if (f->address != 0x2000)
        return false;
    repairs++;
    REQUIRE(mmap((void *)0x2000, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
                 0) != MAP_FAILED,
            "mmap in a handler: %s", strerror(errno));
    return true;
}

static void faults_nest(void)
{
    /* low addresses may be refused to the process; then page 2 is taken elsewhere */
    void *low = mmap((void *)0x2000, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

    if (low == MAP_FAILED)
        return;
    munmap(low, PAGE);
    fault_repair = inner_fault;
    repairs = 0;
    CALL_WITH(access_write8, 0x1000);
    REQUIRE(repairs == 2, "%u nested faults instead of 2", repairs);
    fault_repair = NULL;
    munmap((void *)0x2000, PAGE);
}

static void registers_survive_signals(void)
{
    struct sigaction action = { .sa_handler = count_signal };
    pid_t us = getpid();

    sigaction(SIGUSR2, &action, NULL);
    signals_seen = 0;
    pid_t pid = spawn();
    if (!pid)
        for (;;) { /* the processor is shared: each signal interrupts the loop wherever it stands */
            kill(us, SIGUSR2);
            usleep(1000);
        }
    uint64_t bad = loop_with_all_registers(&signals_seen, 10);
    REQUIRE(!bad, "a signal handler changed a register of the interrupted loop");
    kill(pid, SIGKILL);
    expect_killed(pid, SIGKILL);
}

static void part_signals(void)
{
    for (unsigned n = scaled(8); n; n--) {
        queued_signals_keep_order();
        handlers_nest();
        faults_nest();
    }
    signals_between_processes();
    registers_survive_signals();
}
