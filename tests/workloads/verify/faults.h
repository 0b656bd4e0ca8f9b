/* SPDX-License-Identifier: BSD-2-Clause */
/* Faults of user memory accesses: every kind of access at every kind of bad address must report the right
 * signal, address, cause and page-fault error code, and an access whose cause a handler mends must go on as
 * if nothing had been. Facts: AMD APM vol. 2, 8.4.2 (error code); sigaction(2) (si_code). Each access
 * function begins with its faulting instruction. */
#pragma once
#include "base.h"
#include <sys/prctl.h>

enum { TRAP_NO_SS = 12, TRAP_NO_GP = 13, TRAP_NO_PF = 14 };

struct fault {
    int number, code;
    uint64_t address, error, trap, rip;
};

static struct fault fault; /* the last one caught */
static sigjmp_buf fault_return;
static volatile bool fault_armed;
static bool (*fault_repair)(const struct fault *f, ucontext_t *context); /* true: go on where it happened */

static void on_fault(int number, siginfo_t *info, void *context)
{
    end_alignment_checks();
    const greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs; /* now without alignment checks */
    struct fault f = { number,
                       info->si_code,
                       (uint64_t)info->si_addr,
                       (uint64_t)r[REG_ERR],
                       (uint64_t)r[REG_TRAPNO],
                       (uint64_t)r[REG_IP] };

    if (fault_repair && fault_repair(&f, context))
        return;
    if (!fault_armed)
        fail("unexpected signal %d code %d address %#llx rip %#llx trap %llu error %#llx", number, f.code,
             (unsigned long long)f.address, (unsigned long long)f.rip, (unsigned long long)f.trap,
             (unsigned long long)f.error);
    fault_armed = false;
    fault = f;
    siglongjmp(fault_return, 1);
}

static void catch_faults(void)
{
    static const int numbers[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP };
    struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };
    stack_t stack = { .ss_size = 64 << 10 };

    stack.ss_sp = map(stack.ss_size, PROT_READ | PROT_WRITE, 0);
    REQUIRE_OK(sigaltstack(&stack, NULL));
    for (unsigned i = 0; i < COUNT(numbers); i++)
        REQUIRE_OK(sigaction(numbers[i], &action, NULL));
}

/* True if the access raised a signal, which is in `fault` then. */
static bool faulting(void (*access)(uint64_t), uint64_t address)
{
    if (sigsetjmp(fault_return, 0))
        return true;
    fault_armed = true;
    CALL_WITH(access, address);
    fault_armed = false;
    return false;
}

enum kind { READS, WRITES, READS_WRITES, FETCHES };

ACCESS(read1, "movb (" DI "), %al");
ACCESS(read2, "movw (" DI "), %ax");
ACCESS(read4, "movl (" DI "), %eax");
ACCESS(read8, LOAD8);
ACCESS(read16, "movups (" DI "), %xmm0");
ACCESS(test, TEST_LONG);
ACCESS(compare, "cmpb $0, (" DI ")");
ACCESS(push, PUSH_LONG);
ACCESS(zero_extend, "movzwl (" DI "), %eax");
ACCESS(add_from, ADD_LONG);
ACCESS(float_load, "fldl (" DI ")\n fstp %st(0)");
ACCESS(bit_test, BIT_TEST_LONG);
ACCESS(write1, "movb $0x5a, (" DI ")");
ACCESS(write2, "movw %ax, (" DI ")");
ACCESS(write4, "movl %eax, (" DI ")");
ACCESS(write8, STORE8);
ACCESS(write16, "movups %xmm0, (" DI ")");
ACCESS(write_direct, STORE_DIRECT);
ACCESS(set_byte, "setc (" DI ")");
ACCESS(stosb, "stosb");
ACCESS(increment, "incl (" DI ")");
ACCESS(locked_add, "lock xaddl %eax, (" DI ")");
ACCESS(exchange, EXCHANGE_LONG);
ACCESS(compare_exchange, COMPARE_EXCHANGE);
ACCESS(or_to, "orb $0, (" DI ")");
ACCESS(fetch, "jmp *" DI);
ACCESS(prefetch, "prefetcht0 (" DI ")");
ACCESS(on_stack, LOAD_ON_STACK);

struct access {
    const char *name;
    void (*run)(uint64_t address);
    enum kind kind;
    unsigned bytes;
};

static const struct access accesses[] = {
    { "read1", access_read1, READS, 1 },
    { "read2", access_read2, READS, 2 },
    { "read4", access_read4, READS, 4 },
    { "read8", access_read8, READS, 8 },
    { "read16", access_read16, READS, 16 },
    { "test", access_test, READS, LONG_BYTES },
    { "compare", access_compare, READS, 1 },
    { "push", access_push, READS, LONG_BYTES },
    { "zero_extend", access_zero_extend, READS, 2 },
    { "add_from", access_add_from, READS, LONG_BYTES },
    { "float_load", access_float_load, READS, 8 },
    { "bit_test", access_bit_test, READS, LONG_BYTES },
    { "write1", access_write1, WRITES, 1 },
    { "write2", access_write2, WRITES, 2 },
    { "write4", access_write4, WRITES, 4 },
    { "write8", access_write8, WRITES, 8 },
    { "write16", access_write16, WRITES, 16 },
    { "write_direct", access_write_direct, WRITES, LONG_BYTES },
    { "set_byte", access_set_byte, WRITES, 1 },
    { "stosb", access_stosb, WRITES, 1 },
    { "increment", access_increment, READS_WRITES, 4 },
    { "locked_add", access_locked_add, READS_WRITES, 4 },
    { "exchange", access_exchange, READS_WRITES, LONG_BYTES },
    { "compare_exchange", access_compare_exchange, READS_WRITES, LONG_BYTES },
    { "or_to", access_or_to, READS_WRITES, 1 },
    { "fetch", access_fetch, FETCHES, 1 },
};

/* What a page allows, whether a frame is behind it, and whether any mapping is. */
struct expected {
    const char *name;
    bool mapped, present, readable, writable, executable, is_kernel;
};

static bool allows(const struct expected *e, enum kind kind)
{
    switch (kind) {
    case READS:
        return e->readable;
    case FETCHES:
        return e->executable;
    default:
        return e->writable;
    }
}

/* The error code. Not defined, because a processor may read first: W where an instruction that reads and
 * writes cannot even read, P where it may read but nothing was there yet. */
static bool error_code_fits(const struct expected *e, enum kind kind, uint64_t error)
{
    bool there =
        e->present || e->is_kernel || (kind == FETCHES && e->readable); /* Linux reads the page in first */
    uint64_t wanted = ERR_U | (there ? ERR_P : 0);

    if (kind == READS_WRITES && !e->readable)
        return (error & ~(uint64_t)ERR_W) == wanted;
    if (kind == READS_WRITES && !e->present)
        return (error & ~(uint64_t)ERR_P) == (ERR_U | ERR_W);
    wanted |= kind == FETCHES ? ERR_EXECUTE : kind == READS ? 0 : ERR_W;
    return error == wanted;
}

static void require_fault(const struct access *a, const struct expected *e, uint64_t address,
                          uint64_t reported)
{
    uint64_t rip = a->kind == FETCHES ? address : (uint64_t)a->run;
    int code = e->mapped ? SEGV_ACCERR : SEGV_MAPERR;

    REQUIRE(fault.number == SIGSEGV && fault.code == code && fault.trap == TRAP_NO_PF,
            "%s %s: signal %d code %d trap %llu instead of SIGSEGV code %d trap 14", a->name, e->name,
            fault.number, fault.code, (unsigned long long)fault.trap, code);
    REQUIRE(fault.address == reported, "%s %s: si_addr %#llx instead of %#llx", a->name, e->name,
            (unsigned long long)fault.address, (unsigned long long)reported);
    REQUIRE(error_code_fits(e, a->kind, fault.error), "%s %s: error code %#llx, present %d", a->name, e->name,
            (unsigned long long)fault.error, e->present);
    REQUIRE(fault.rip == rip, "%s %s: rip %#llx instead of %#llx", a->name, e->name,
            (unsigned long long)fault.rip, (unsigned long long)rip);
}

/* Tries one access and compares with what the page allows. */
static void try_access(const struct access *a, const struct expected *e, uint64_t address)
{
    if (a->kind == FETCHES && e->readable && !e->executable && !no_execute())
        return; /* it would execute whatever is there */
    bool faulted = faulting(a->run, address);
    REQUIRE(faulted == !allows(e, a->kind), "%s %s: %s", a->name, e->name,
            faulted ? "faulted" : "did not fault");
    if (faulted)
        require_fault(a, e, address, address);
}

static uint8_t *page_of(const struct expected *e)
{
    uint8_t *page = map(PAGE, PROT_READ | PROT_WRITE, 0);

    if (!e->mapped) {
        REQUIRE_OK(munmap(page, PAGE));
        return page;
    }
    memset(page, e->present ? 0xc3 : 0, e->present ? PAGE : 0); /* 0xc3 is a return */
    int prot = e->readable ? PROT_READ : PROT_NONE;
    prot |= (e->writable ? PROT_WRITE : 0) | (e->executable ? PROT_EXEC : 0);
    REQUIRE_OK(mprotect(page, PAGE, prot));
    return page;
}

static const struct expected page_kinds[] = {
    { .name = "unmapped" },
    { .name = "no rights", .mapped = true },
    { .name = "read-only", .mapped = true, .present = true, .readable = true },
    { .name = "read-only never touched", .mapped = true, .readable = true },
    { .name = "writable", .mapped = true, .present = true, .readable = true, .writable = true },
    { .name = "executable", .mapped = true, .present = true, .readable = true, .executable = true },
    { .name = "all rights",
      .mapped = true,
      .present = true,
      .readable = true,
      .writable = true,
      .executable = true },
};

/* A fresh page for each access: the first may change what is behind the page. */
static void every_access_at_every_page(void)
{
    for (unsigned k = 0; k < COUNT(page_kinds); k++)
        for (unsigned i = 0; i < COUNT(accesses); i++) {
            uint8_t *page = page_of(&page_kinds[k]);
            unsigned last = (unsigned)PAGE - accesses[i].bytes; /* just not crossing */
            try_access(&accesses[i], &page_kinds[k], (uint64_t)page + below(last + 1) / 16 * 16);
            if (page_kinds[k].mapped)
                REQUIRE_OK(munmap(page, PAGE));
        }
}

/* The second page is bad: its first byte is reported, and nothing was written to the first. */
static void accesses_that_cross_into_a_bad_page(void)
{
    for (unsigned i = 0; i < COUNT(accesses); i++) {
        const struct access *a = &accesses[i];
        for (unsigned inside = 1; inside < a->bytes && a->kind != READS_WRITES; inside++) {
            const struct expected unmapped = { .name = "second page unmapped" };
            uint8_t *pages = map(2 * PAGE, PROT_READ | PROT_WRITE, 0);
            memset(pages, 0x77, PAGE);
            REQUIRE_OK(munmap(pages + PAGE, PAGE));
            REQUIRE(faulting(a->run, (uint64_t)pages + PAGE - inside), "%s across a page: no fault", a->name);
            require_fault(a, &unmapped, (uint64_t)pages + PAGE - inside, (uint64_t)pages + PAGE);
            for (unsigned at = 0; at < PAGE && a->bytes <= 8;
                 at++) /* QEMU 7.2 makes two stores of 16 bytes */
                REQUIRE(pages[at] == 0x77, "%s across a page: byte %u was written before the fault", a->name,
                        at);
            REQUIRE_OK(munmap(pages, PAGE));
        }
    }
}

static void accesses_to_kernel_addresses(void)
{
    const struct expected kernel = { .name = "kernel address", .is_kernel = true };

    for (unsigned k = 0; k < COUNT(kernel_addresses) && kernel_is_above(); k++)
        for (unsigned i = 0; i < COUNT(accesses); i++)
            try_access(&accesses[i], &kernel, kernel_addresses[k]);
}

/* #GP: no address is told. An emulator may raise it where a processor raises #SS. */
static void non_canonical_accesses(void)
{
    for (int k = 0; k < NON_CANONICALS; k++) {
        for (unsigned i = 0; i < COUNT(accesses); i++) {
            REQUIRE(faulting(accesses[i].run, non_canonical[k]), "%s non-canonical: no fault",
                    accesses[i].name);
            REQUIRE(fault.number == SIGSEGV && fault.code == SI_KERNEL && fault.address == 0 &&
                        fault.trap == TRAP_NO_GP && fault.error == 0,
                    "%s non-canonical: signal %d code %d address %#llx trap %llu error %#llx",
                    accesses[i].name, fault.number, fault.code, (unsigned long long)fault.address,
                    (unsigned long long)fault.trap, (unsigned long long)fault.error);
        }
        REQUIRE(faulting(access_on_stack, non_canonical[k]), "stack segment non-canonical: no fault");
        REQUIRE(fault.code == SI_KERNEL && fault.address == 0 && fault.error == 0 &&
                    ((fault.number == SIGBUS && fault.trap == TRAP_NO_SS) ||
                     (fault.number == SIGSEGV && fault.trap == TRAP_NO_GP)),
                "stack segment non-canonical: signal %d code %d trap %llu", fault.number, fault.code,
                (unsigned long long)fault.trap);
    }
}

static void null_and_user_limits(void)
{
    const struct expected unmapped = { .name = "null, or the end of user space" };

    for (unsigned k = 0; k < COUNT(unmapped_addresses); k++)
        for (unsigned i = 0; i < COUNT(accesses); i++)
            try_access(&accesses[i], &unmapped, unmapped_addresses[k]);
    REQUIRE(!faulting(access_prefetch, 0) && !faulting(access_prefetch, kernel_addresses[3]),
            "a prefetch faulted");
}

/* Pages that nobody touched must not be there: no large folios. */
static void only_small_pages(void)
{
    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
}

static void part_faults(void)
{
    only_small_pages();
    for (unsigned n = scaled(3); n; n--) {
        every_access_at_every_page();
        accesses_that_cross_into_a_bad_page();
        accesses_to_kernel_addresses();
        non_canonical_accesses();
        null_and_user_limits();
    }
}

/* --- retry: the handler mends what was wrong, the instruction is executed again --- */

static uint8_t *repair_page; /* what the handler opens, one page */
static unsigned repairs;
static ucontext_t repair_context; /* registers at the last repair; the pointer to FPU state in it is dead */

static bool open_page(const struct fault *f, ucontext_t *context)
{
    if (f->address - (uint64_t)repair_page >= PAGE)
        return false;
    repairs++;
    repair_context = *context;
    REQUIRE_OK(mprotect(repair_page, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC));
    return true;
}

static void registers_survive_a_fault(void)
{
    unsigned long out[COUNT(known_registers) + 1] = { 0 };
    const greg_t *r = repair_context.uc_mcontext.gregs;

    repair_page = map(PAGE, below(2) ? PROT_READ : PROT_NONE, 0);
    repairs = 0;
    store_with_known_registers((uint64_t)repair_page + 8 * below(512), out);
    REQUIRE(repairs == 1, "%u faults instead of one", repairs);
    REQUIRE((uint64_t)r[REG_IP] == (uint64_t)store_with_known_registers_at, "rip %#llx at the fault",
            (unsigned long long)r[REG_IP]);
    for (unsigned i = 0; i < COUNT(known_registers); i++) {
        REQUIRE((unsigned long)r[known_registers[i]] == KNOWN_UNIT * (i + 1),
                "register %u in the handler is %#llx", i, (unsigned long long)r[known_registers[i]]);
        REQUIRE(out[i] == KNOWN_UNIT * (i + 1), "register %u after the fault is %#llx", i,
                (unsigned long long)out[i]);
    }
    REQUIRE((out[COUNT(known_registers)] & 0xff) == 1 && (r[REG_EFL] & 1), "carry flag lost in a fault");
    REQUIRE_OK(munmap(repair_page, PAGE));
}

/* A repeated move runs into a closed page: the state at the fault is between two of its steps, the result is
 * whole. */
static void string_move_into_closed_page(void)
{
    uint8_t *from = map(2 * PAGE, PROT_READ | PROT_WRITE, 0), *to = map(2 * PAGE, PROT_READ | PROT_WRITE, 0);
    unsigned long before = 1 + below(600), after = 1 + below(600), rdi = (unsigned long)to + PAGE - before,
                  rsi = (unsigned long)from + 40, rcx = before + after;
    const greg_t *r = repair_context.uc_mcontext.gregs;

    for (unsigned i = 0; i < 2 * PAGE; i++)
        from[i] = (uint8_t)random64();
    repair_page = to + PAGE;
    repairs = 0;
    REQUIRE_OK(mprotect(repair_page, PAGE, PROT_NONE));
    __asm__ volatile("rep movsb" : "+D"(rdi), "+S"(rsi), "+c"(rcx) : : "memory");
    REQUIRE(repairs == 1 && rcx == 0, "rep movsb: %u faults, %llu bytes left", repairs,
            (unsigned long long)rcx);
    REQUIRE((uint64_t)r[REG_TO] - (uint64_t)to == PAGE && (unsigned long)r[REG_COUNT] == after &&
                (uint64_t)r[REG_FROM] == (uint64_t)from + 40 + before,
            "rep movsb stopped at %#llx, %llu left", (unsigned long long)r[REG_TO],
            (unsigned long long)r[REG_COUNT]);
    REQUIRE(!memcmp(to + PAGE - before, from + 40, before + after), "rep movsb copied wrongly");
    munmap(from, 2 * PAGE);
    munmap(to, 2 * PAGE);
}

/* One access across two pages, the second or the first closed. */
static void crossing_access_is_repaired(void)
{
    for (unsigned inside = 1; inside < LONG_BYTES; inside++)
        for (unsigned closed = 0; closed < 2; closed++) {
            uint8_t *pages = map(2 * PAGE, PROT_READ | PROT_WRITE, 0);
            unsigned long *word = (unsigned long *)(pages + PAGE - inside), read;
            unsigned long value = (unsigned long)random64(), old = (unsigned long)random64();
            memcpy(word, &old, LONG_BYTES);
            repair_page = pages + closed * PAGE;
            repairs = 0;
            REQUIRE_OK(mprotect(repair_page, PAGE, PROT_NONE));
            __asm__ volatile("mov %1, %0" : "=r"(read) : "m"(*word));
            REQUIRE(repairs == 1 && read == old, "crossing load: %u faults, value %#llx", repairs,
                    (unsigned long long)read);
            REQUIRE_OK(mprotect(repair_page, PAGE, PROT_READ));
            read = value;
            __asm__ volatile("xchg %0, %1" : "+r"(read), "+m"(*word));
            REQUIRE(repairs == 2 && read == old, "crossing exchange: %u faults", repairs);
            memcpy(&read, word, LONG_BYTES);
            REQUIRE(read == value, "crossing exchange left %#llx", (unsigned long long)read);
            munmap(pages, 2 * PAGE);
        }
}

/* Push, call and return with a stack that faults; rsp must not have moved when it does. */
static void stack_operations_are_repaired(void)
{
    uint8_t *stack = map(2 * PAGE, PROT_READ | PROT_WRITE, 0);
    unsigned long top = (unsigned long)stack + PAGE, out = 0, saved;
    const greg_t *r = repair_context.uc_mcontext.gregs;

    repair_page = stack;
    repairs = 0;
    REQUIRE_OK(mprotect(stack, PAGE, PROT_NONE));
    __asm__ volatile("mov %" SP ", %1\n mov %2, %" SP "\n push $0x1234\n pop %0\n mov %1, %" SP
                     : "=&r"(out), "=&r"(saved)
                     : "r"(top)
                     : "memory");
    REQUIRE(repairs == 1 && out == 0x1234, "push: %u faults, read back %#llx", repairs,
            (unsigned long long)out);
    REQUIRE((unsigned long)r[REG_STACK] == top, "push moved rsp before it faulted");
    REQUIRE_OK(mprotect(stack, PAGE, PROT_NONE));
    __asm__ volatile("mov %" SP ", %1\n mov %2, %" SP "\n"
                     "call 1f\n jmp 2f\n1: mov $0x5678, %0\n ret\n2: mov %1, %" SP
                     : "=&r"(out), "=&r"(saved)
                     : "r"(top)
                     : "memory");
    REQUIRE(repairs == 2 && out == 0x5678, "call: %u faults", repairs);
    REQUIRE((unsigned long)r[REG_STACK] == top, "call moved rsp before it faulted");
    munmap(stack, 2 * PAGE);
}

/* Code that lies across two pages, the second closed: the fetch of its rest faults at the page's beginning.
 */
static void crossing_fetch_is_repaired(void)
{
    static const uint8_t code[] = { 0xb8, 0x78, 0x56, 0x34, 0x12, 0xc3 }; /* mov $0x12345678, %eax; ret */

    for (unsigned inside = 1; inside < sizeof(code); inside++) {
        uint8_t *pages = map(2 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, 0);
        uint32_t value;
        memcpy(pages + PAGE - inside, code, sizeof(code));
        repair_page = pages + PAGE;
        repairs = 0;
        REQUIRE_OK(mprotect(repair_page, PAGE, no_execute() ? PROT_READ | PROT_WRITE : PROT_NONE));
        value = ((uint32_t(*)(void))(pages + PAGE - inside))();
        uint64_t rip = (uint64_t)repair_context.uc_mcontext.gregs[REG_IP];
        uint64_t wanted = (uint64_t)pages + PAGE - (inside < 5 ? inside : 0);
        REQUIRE(repairs == 1 && value == 0x12345678, "crossing fetch: %u faults, value %#x", repairs, value);
        REQUIRE(rip == wanted, "crossing fetch: rip %#llx instead of %#llx", (unsigned long long)rip,
                (unsigned long long)wanted);
        munmap(pages, 2 * PAGE);
    }
}

static void part_retry(void)
{
    fault_repair = open_page;
    for (unsigned n = scaled(40); n; n--) {
        registers_survive_a_fault();
        string_move_into_closed_page();
        crossing_access_is_repaired();
        stack_operations_are_repaired();
        crossing_fetch_is_repaired();
    }
}

/* --- uaccess: the kernel's own accesses to user memory obey the same rights --- */

static void kernel_reads_and_writes(uint8_t *page, bool readable, bool writable, const char *name)
{
    int file = anonymous_file(PAGE);
    ssize_t in = pwrite(file, page, 100, 0), out = pread(file, page, 100, 0);
    int why = errno;

    REQUIRE((in == 100) == readable && (in == 100 || in == -1), "%s: kernel read %zd", name, in);
    REQUIRE((out == 100) == writable && (out == 100 || (out == -1 && why == EFAULT)), "%s: kernel wrote %zd",
            name, out);
    close(file);
}

/* Across the border of a writable and a bad page: as much as fits, never more, and the data are right. */
static void kernel_write_stops_at_a_bad_page(void)
{
    uint8_t *pages = map(2 * PAGE, PROT_READ | PROT_WRITE, 0), wanted[64];
    int file = anonymous_file(PAGE);

    for (unsigned i = 0; i < sizeof(wanted); i++)
        wanted[i] = (uint8_t)random64();
    REQUIRE_OK(pwrite(file, wanted, sizeof(wanted), 0));
    REQUIRE_OK(mprotect(pages + PAGE, PAGE, PROT_READ));
    ssize_t n = pread(file, pages + PAGE - 24, sizeof(wanted), 0);
    REQUIRE(n == 24 || (n < 0 && errno == EFAULT), "a kernel write across a border gave %zd", n);
    REQUIRE(n < 0 || !memcmp(pages + PAGE - 24, wanted, 24), "a kernel write across a border: wrong bytes");
    for (unsigned i = 0; i < PAGE; i++)
        REQUIRE(pages[PAGE + i] == 0, "the kernel wrote to a read-only page");
    munmap(pages, 2 * PAGE);
    close(file);
}

/* The first writer of a page shared after fork is the kernel. */
static void kernel_breaks_copy_on_write(void)
{
    uint8_t *page = map(PAGE, PROT_READ | PROT_WRITE, 0);
    int file = anonymous_file(PAGE);

    fill_page(page, 7);
    REQUIRE(pwrite(file, page, PAGE, 0) == (ssize_t)PAGE, "pwrite: %s", strerror(errno));
    fill_page(page, 8);
    pid_t pid = spawn();
    if (!pid) {
        REQUIRE(pread(file, page, PAGE, 0) == (ssize_t)PAGE, "pread: %s", strerror(errno));
        check_page(page, 7, "kernel copy on write, child");
        _exit(3);
    }
    expect_exit(pid, 3);
    check_page(page, 8, "kernel copy on write, parent");
    munmap(page, PAGE);
    close(file);
}

static void part_uaccess(void)
{
    for (unsigned n = scaled(20); n; n--) {
        for (unsigned k = 0; k < COUNT(page_kinds); k++) {
            uint8_t *page = page_of(&page_kinds[k]);
            kernel_reads_and_writes(page, page_kinds[k].readable, page_kinds[k].writable, page_kinds[k].name);
            if (page_kinds[k].mapped)
                munmap(page, PAGE);
        }
        if (kernel_is_above())
            kernel_reads_and_writes((uint8_t *)(uintptr_t)kernel_addresses[1], false, false,
                                    "kernel address");
        for (int k = 0; k < NON_CANONICALS; k++)
            kernel_reads_and_writes((uint8_t *)(uintptr_t)non_canonical[k], false, false,
                                    "non-canonical address");
        kernel_write_stops_at_a_bad_page();
        kernel_breaks_copy_on_write();
    }
}
