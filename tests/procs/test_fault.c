/* SPDX-License-Identifier: BSD-2-Clause */
/* What a thread does wrong arrives at its fault endpoint, with the right facts, and can be continued from.
 * Also the hazards of entering and leaving the kernel: odd flags, odd addresses, segments, instructions that
 * user mode lacks. */
#include "support/harness.h"

static struct thread victim;
static cptr_t ep, reply;
static struct sys_message fault;
static volatile uint64_t marks;

static bool set_up(void)
{
    cptr_t badged = new_slot();

    ep = new_object(OBJ_ENDPOINT, 0);
    reply = new_object(OBJ_REPLY, 0);
    marks = 0;
    sys_invoke4(SLOT_CNODE, CNODE_MINT, badged, ep, RIGHT_WRITE, 0xbad);
    return thread_make(&victim, NULL, 0, 100, badged);
}

/* Run f until it faults; the fault is in `fault`. */
static bool faults(void (*f)(uint64_t), uint64_t argument, uint32_t label)
{
    fault = (struct sys_message){ 0 };
    return sys_invoke0(victim.tcb, TCB_SUSPEND) == ERR_OK && thread_start(&victim, f, argument) == ERR_OK &&
           sys_recv(ep, reply, &fault) == ERR_OK && fault.badge == 0xbad && fault.tag == TAG(label, 4);
}

static bool raises(void (*f)(uint64_t), uint64_t argument, unsigned vector)
{
    return faults(f, argument, FAULT_EXCEPTION) && fault.w[1] == vector;
}

static err_t answer(unsigned words, uint64_t rip, uint64_t rsp)
{
    struct sys_message m = { .tag = TAG(0, words), .w = { rip, rsp } };
    return sys_reply(reply, &m);
}

static void settle(void)
{
    root_priority(1);
    root_priority(255);
}

static void reads(uint64_t address)
{
    marks = *(volatile uint64_t *)address;
}
static void writes(uint64_t address)
{
    *(volatile uint64_t *)address = 7;
    marks++;
}
static void jumps(uint64_t address)
{
    __asm__ volatile("jmp *%0" : : "r"(address));
}

/* --- page faults --- */

enum { PF_PRESENT = 1, PF_WRITE = 2, PF_USER = 4, PF_FETCH = 16 };

static bool page_fault(void (*f)(uint64_t), uint64_t address, uint64_t code)
{
    return faults(f, address, FAULT_PAGE) && fault.w[1] == address && fault.w[2] == code;
}

TEST(page_faults_say_where_and_why)
{
    CHECK(set_up());
    cptr_t frame = map_frame(SLOT_VSPACE, TEST_ADDRESS, RIGHT_READ);
    CHECK(frame);
    CHECK(page_fault(reads, TEST_ADDRESS + 0x5008, PF_USER));
    CHECK(page_fault(writes, TEST_ADDRESS + 0x5010, PF_USER | PF_WRITE));
    CHECK(page_fault(writes, TEST_ADDRESS + 0x18, PF_USER | PF_WRITE | PF_PRESENT));
    CHECK(page_fault(jumps, TEST_ADDRESS + 0x40, PF_USER | PF_FETCH | PF_PRESENT));
    CHECK_EQ(fault.w[0], TEST_ADDRESS + 0x40);
    CHECK(page_fault(jumps, 0, PF_USER | PF_FETCH));
    CHECK_EQ(fault.w[3], victim.stack - 8);
    CHECK(page_fault(writes, (uint64_t)reads, PF_USER | PF_WRITE | PF_PRESENT));
    CHECK_OK(sys_invoke0(frame, FRAME_UNMAP));
    CHECK(page_fault(reads, TEST_ADDRESS, PF_USER));
}

TEST(the_kernels_memory_is_out_of_reach)
{
    static const uint64_t addresses[] = { 0xffff800000000000, 0xffffffff80100000, 0xffffffffbfe00000,
                                          0xffff8000fee00000, 0xffff900000000000 };
    CHECK(set_up());
    for (unsigned i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
        CHECK(faults(reads, addresses[i], FAULT_PAGE));
        CHECK_EQ(fault.w[1], addresses[i]);
        CHECK(faults(writes, addresses[i], FAULT_PAGE));
        CHECK(faults(jumps, addresses[i], FAULT_PAGE));
    }
}

TEST(an_answer_repeats_the_instruction)
{
    CHECK(set_up());
    CHECK(page_fault(writes, TEST_ADDRESS, PF_USER | PF_WRITE));
    CHECK(map_frame(SLOT_VSPACE, TEST_ADDRESS, RIGHT_READ | RIGHT_WRITE));
    CHECK_OK(answer(0, 0, 0));
    settle();
    CHECK_EQ(marks, 1);
    CHECK_EQ(*(uint64_t *)TEST_ADDRESS, 7);
}

static void landing(uint64_t ignored)
{
    uint64_t rsp;
    (void)ignored;
    __asm__ volatile("mov %%rsp, %0" : "=r"(rsp));
    marks = rsp;
    thread_end();
}

static volatile uint64_t handled;
static void handler(uint64_t skip)
{
    struct sys_message m = { 0 };
    err_t e = sys_recv(ep, reply, &m);

    while (e == ERR_OK) { /* each fault: skip the instruction, in the way that `skip` says */
        handled++;
        m.w[0] += 2;
        m.w[1] = m.w[3];
        m.tag = TAG(0, skip);
        e = sys_reply_recv(ep, reply, &m);
    }
}

static void many_faults(uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        uint64_t before = 0x1234567 + i, after;
        __asm__ volatile("ud2" : "=a"(after) : "a"(before) : "memory");
        marks += after == before;
    }
}

TEST(a_handler_answers_with_reply_recv)
{
    for (unsigned words = 1; words <= 2; words++) { /* one word and two take different paths in the kernel */
        struct thread t;
        CHECK(set_up());
        handled = 0;
        CHECK(thread_make(&t, handler, words, 150, 0));
        settle();
        CHECK_OK(thread_start(&victim, many_faults, 100));
        settle();
        CHECK_EQ(handled, 100);
        CHECK_EQ(marks, 100);
    }
}

TEST(an_answer_with_words_continues_elsewhere)
{
    CHECK(set_up());
    CHECK(page_fault(writes, TEST_ADDRESS, PF_USER | PF_WRITE));
    CHECK_EQ(answer(1, USER_END, 0), ERR_RANGE);
    CHECK_EQ(answer(2, ~0ul, 0), ERR_RANGE);
    CHECK_EQ(answer(1, 1ul << 47, 0), ERR_RANGE);
    CHECK_OK(answer(2, (uint64_t)landing, victim.stack - 2048 - 8));
    settle();
    CHECK(marks <= victim.stack - 2048 && marks > victim.stack - 4096);
}

TEST(a_fault_that_nobody_handles_stops_the_thread)
{
    CHECK(set_up());
    CHECK_OK(sys_invoke4(victim.tcb, TCB_CONFIGURE, SLOT_CNODE, SLOT_VSPACE, 0, 0));
    CHECK_OK(thread_start(&victim, writes, TEST_ADDRESS));
    settle();
    CHECK_EQ(marks, 0);
    CHECK_EQ(sys_invoke4(victim.tcb, TCB_CONFIGURE, SLOT_CNODE, SLOT_VSPACE, 0, 0), ERR_WRONG_STATE);
    CHECK(map_frame(SLOT_VSPACE, TEST_ADDRESS, RIGHT_READ | RIGHT_WRITE));
    CHECK_OK(sys_invoke0(victim.tcb, TCB_RESUME));
    settle();
    CHECK_EQ(marks, 1);
}

TEST(a_faulted_thread_may_be_given_other_registers)
{
    CHECK(set_up());
    CHECK_OK(sys_invoke4(victim.tcb, TCB_CONFIGURE, SLOT_CNODE, SLOT_VSPACE, 0, 0));
    CHECK_OK(thread_start(&victim, writes, TEST_ADDRESS));
    settle();
    CHECK_OK(thread_start(&victim, landing, 0));
    settle();
    CHECK(marks != 0);
}

TEST(a_receiver_without_reply_object_learns_of_the_fault)
{
    CHECK(set_up());
    CHECK_OK(thread_start(&victim, writes, TEST_ADDRESS));
    CHECK_OK(sys_recv(ep, 0, &fault));
    CHECK_EQ(fault.tag, TAG(FAULT_PAGE, 4));
    CHECK(map_frame(SLOT_VSPACE, TEST_ADDRESS, RIGHT_READ | RIGHT_WRITE));
    CHECK_OK(sys_invoke0(victim.tcb, TCB_RESUME));
    settle();
    CHECK_EQ(marks, 1);
}

TEST(the_end_of_the_handler_leaves_the_thread_faulted)
{
    CHECK(set_up());
    CHECK(page_fault(writes, TEST_ADDRESS, PF_USER | PF_WRITE));
    CHECK_OK(delete_cap(reply)); /* held by it */
    settle();
    CHECK(map_frame(SLOT_VSPACE, TEST_ADDRESS, RIGHT_READ | RIGHT_WRITE));
    CHECK_EQ(marks, 0);
    CHECK_OK(sys_invoke0(victim.tcb, TCB_RESUME));
    settle();
    CHECK_EQ(marks, 1);

    CHECK_OK(sys_invoke0(victim.tcb, TCB_SUSPEND));
    CHECK_OK(thread_start(&victim, writes, TEST_ADDRESS + PAGE_BYTES));
    settle(); /* it waits to send its fault */
    CHECK_OK(delete_cap(ep));
    settle();
    CHECK_EQ(marks, 1);
    CHECK_OK(sys_invoke0(victim.tcb, TCB_RESUME)); /* faults again, unheard */
    settle();
    CHECK_EQ(sys_invoke0(victim.tcb, TCB_RESUME), ERR_OK);
}

TEST(a_suspended_fault_comes_again)
{
    CHECK(set_up());
    CHECK(page_fault(writes, TEST_ADDRESS, PF_USER | PF_WRITE));
    CHECK_OK(sys_invoke0(victim.tcb, TCB_SUSPEND));
    CHECK_EQ(answer(0, 0, 0), ERR_NO_REPLY);
    CHECK_OK(sys_invoke0(victim.tcb, TCB_RESUME));
    settle(); /* it waits to send now */
    CHECK_OK(sys_invoke0(victim.tcb, TCB_SUSPEND));
    struct sys_message m = { 0 };
    CHECK_EQ(sys_poll(ep, 0, &m), ERR_WOULD_BLOCK);
    CHECK_OK(sys_invoke0(victim.tcb, TCB_RESUME));
    CHECK_OK(sys_recv(ep, reply, &m));
    CHECK_EQ(m.w[1], TEST_ADDRESS);
    CHECK_EQ(m.w[0], fault.w[0]);
}

/* --- exceptions --- */

#define INSTRUCTION(name, text)                                                                              \
    static void name(uint64_t a)                                                                             \
    {                                                                                                        \
        __asm__ volatile(text : : "D"(a) : "rax", "rcx", "rdx", "r11", "memory");                            \
        marks++;                                                                                             \
    }
INSTRUCTION(divides, "xor %%ecx, %%ecx; mov $1, %%eax; xor %%edx, %%edx; div %%ecx")
INSTRUCTION(undefined, "ud2")
INSTRUCTION(halts, "hlt")
INSTRUCTION(clears_interrupts, "cli")
INSTRUCTION(port_read, "mov $0x21, %%edx; in %%dx, %%al")
INSTRUCTION(port_write, "mov $0x21, %%edx; out %%al, %%dx")
INSTRUCTION(reads_cr3, "mov %%cr3, %%rax")
INSTRUCTION(writes_cr0, "mov %%rax, %%cr0")
INSTRUCTION(reads_dr7, "mov %%dr7, %%rax")
INSTRUCTION(reads_msr, "mov $0xc0000080, %%ecx; rdmsr")
INSTRUCTION(writes_xcr0, "xor %%ecx, %%ecx; xor %%edx, %%edx; mov $1, %%eax; xsetbv")
INSTRUCTION(loads_gdt, "lgdt (%%rdi)")
INSTRUCTION(reads_gdt, "sgdt -256(%%rsp)")
INSTRUCTION(invalidates, "invlpg (%%rdi)")
INSTRUCTION(runs_a_guest, "xor %%eax, %%eax; vmrun %%rax")
INSTRUCTION(swaps_gs, "swapgs")
INSTRUCTION(returns_far, "sysretq")
INSTRUCTION(breakpoint, "int3")
INSTRUCTION(interrupt_of_the_timer, "int $0x40")
INSTRUCTION(double_fault_by_int, "int $8")
INSTRUCTION(nmi_by_int, "int $2")
INSTRUCTION(interrupt_128, "int $0x80")
INSTRUCTION(writes_far_up, "movabs $0x800000000000, %%rax; mov %%rax, (%%rax)")
/* A far jump: QEMU reads the stack of a far return as the kernel would, which SMAP refuses. */
#define FAR_JUMP(selector)                                                                                   \
    "lea 1f(%%rip), %%rax; mov %%eax, -16(%%rsp); movw $" selector ", -12(%%rsp); ljmp *-16(%%rsp); 1:"
INSTRUCTION(code_of_32_bits, FAR_JUMP("0x1b"))
INSTRUCTION(kernel_code, FAR_JUMP("8"))
INSTRUCTION(loads_tss_selector, "mov $0x30, %%eax; mov %%eax, %%fs")
INSTRUCTION(loads_kernel_data, "mov $0x10, %%eax; mov %%eax, %%ss")
INSTRUCTION(reads_counters, "mov $0, %%ecx; rdpmc")

/* Without it user code may read where the GDT is (CPUID 7: ECX bit 2). */
static bool has_umip(void)
{
    uint32_t a = 7, b, c = 0, d;

    __asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    return c & 1u << 2;
}

#define ANY 0xffff /* QEMU gives vector * 16 + 2 where the manual has 8 (APM vol. 2, 8.4.1) */

TEST(instructions_of_the_kernel_are_refused)
{
    static const struct {
        void (*f)(uint64_t);
        uint8_t vector;
        uint16_t code;
    } rows[] = {
        { divides, 0, 0 },
        { undefined, 6, 0 },
        { halts, 13, 0 },
        { clears_interrupts, 13, 0 },
        { port_read, 13, 0 },
        { port_write, 13, 0 },
        { reads_cr3, 13, 0 },
        { writes_cr0, 13, 0 },
        { reads_dr7, 13, 0 },
        { reads_msr, 13, 0 },
        { writes_xcr0, 13, 0 },
        { loads_gdt, 13, 0 },
        { reads_gdt, 13, 0 },
        { invalidates, 13, 0 },
        { runs_a_guest, 13, 0 },
        { swaps_gs, 13, 0 },
        { returns_far, 13, 0 },
        { interrupt_of_the_timer, 13, ANY },
        { double_fault_by_int, 13, ANY },
        { nmi_by_int, 13, ANY },
        { interrupt_128, 13, ANY },
        { writes_far_up, 13, 0 },
        { code_of_32_bits, 13, 0x18 },
        { kernel_code, 13, 8 },
        { loads_tss_selector, 13, 0x30 },
        { loads_kernel_data, 13, 0x10 },
        { reads_counters, 13, 0 },
        { breakpoint, 3, 0 },
    };
    CHECK(set_up());
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (rows[i].f == reads_gdt && !has_umip())
            continue;
        if (!faults(rows[i].f, (uint64_t)&fault, FAULT_EXCEPTION))
            print_number("# row 0x", i, ""), print_number(": 0x", fault.w[0], ""),
                print_number(" 0x", fault.w[1], ""), print_number(" 0x", fault.w[2], "\n");
        CHECK_EQ(fault.tag, TAG(FAULT_EXCEPTION, 4));
        CHECK_EQ(fault.w[1], rows[i].vector);
        if (rows[i].code != ANY)
            CHECK_EQ(fault.w[2], rows[i].code);
        CHECK_EQ(marks, 0);
    }
}

TEST(an_exception_can_be_stepped_over)
{
    CHECK(set_up());
    CHECK(raises(undefined, 0, 6));
    CHECK_OK(answer(1, fault.w[0] + 2, 0));
    settle();
    CHECK_EQ(marks, 1);
}

TEST(a_jump_out_of_the_address_space_hurts_only_the_thread)
{
    static const uint64_t addresses[] = { 1ul << 47,          (1ul << 47) + 0x123, 0x8000000000000000,
                                          0xffff7fffffffffff, 0xffffffff80100000,  0xffff800000000000 };
    CHECK(set_up());
    for (unsigned i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
        fault = (struct sys_message){ 0 };
        CHECK_OK(sys_invoke0(victim.tcb, TCB_SUSPEND));
        CHECK_OK(thread_start(&victim, jumps, addresses[i]));
        CHECK_OK(sys_recv(ep, reply, &fault));
        CHECK_OK(answer(0, 0, 0)); /* again: IRETQ must not be given such an address */
        CHECK_OK(sys_recv(ep, reply, &fault));
        CHECK_OK(sys_invoke0(victim.tcb, TCB_SUSPEND));
        CHECK_OK(sys_invoke0(victim.tcb, TCB_READ_REGS));
        struct sys_message m = { .tag = TAG(TCB_READ_REGS, 0) };
        CHECK_OK(sys_call(victim.tcb, &m));
        CHECK(m.w[0] <= USER_END);
        CHECK_OK(sys_invoke0(victim.tcb, TCB_RESUME));
        settle();
    }
}

/* --- flags --- */

#define FLAG_TF 0x100ul
#define FLAG_NT 0x4000ul
#define FLAG_AC 0x40000ul
#define FLAG_ID 0x200000ul

static volatile uint64_t flags_after;
static void calls_with_flags(uint64_t flags)
{
    uint64_t rax = (uint64_t)SYS_NULL, got;

    __asm__ volatile(
        "pushfq; or %2, (%%rsp); popfq; syscall; pushfq; pop %1; pushfq; andq $~0x44100, (%%rsp); popfq"
        : "+a"(rax), "=&r"(got)
        : "r"(flags)
        : "rcx", "r11", "memory", "cc");
    flags_after = got;
    marks = 1;
}

TEST(odd_flags_do_not_reach_the_kernel)
{
    CHECK(set_up());
    CHECK_OK(thread_start(&victim, calls_with_flags, FLAG_NT | FLAG_AC | 0xcd5));
    settle();
    CHECK_EQ(marks, 1);
    CHECK_EQ(flags_after & (FLAG_NT | FLAG_AC | 0xcd5), FLAG_NT | FLAG_AC | 0xcd5);
    CHECK(flags_after & 0x200);
}

static void faults_with_flags(uint64_t flags)
{
    __asm__ volatile("pushfq; or %0, (%%rsp); popfq; ud2; pushfq; andq $~0x44100, (%%rsp); popfq"
                     :
                     : "r"(flags)
                     : "memory", "cc");
    marks = 1;
}

TEST(odd_flags_survive_an_exception)
{
    CHECK(set_up());
    CHECK(raises(faults_with_flags, FLAG_NT | FLAG_AC, 6));
    struct sys_message m = { .tag = TAG(TCB_READ_REGS, 0) };
    CHECK_OK(sys_call(victim.tcb, &m));
    CHECK_EQ(m.w[2] & (FLAG_NT | FLAG_AC), FLAG_NT | FLAG_AC);
    CHECK_OK(answer(1, fault.w[0] + 2, 0));
    settle();
    CHECK_EQ(marks, 1);
}

TEST(single_steps_are_faults_also_over_a_system_call)
{
    CHECK(set_up());
    CHECK(raises(calls_with_flags, FLAG_TF, 1));
    unsigned steps = 1; /* after syscall, pushfq, pop, pushfq, and, popfq */
    for (; steps < 100; steps++) {
        CHECK_OK(answer(0, 0, 0));
        settle();
        if (sys_poll(ep, reply, &fault) == ERR_WOULD_BLOCK)
            break;
        CHECK_EQ(fault.tag, TAG(FAULT_EXCEPTION, 4));
        CHECK_EQ(fault.w[1], 1);
    }
    CHECK_EQ(marks, 1);
    CHECK_EQ(steps, 6);
}

/* --- Linux system calls, fixups --- */

static void linux_write(uint64_t ignored)
{
    uint64_t rax = 1;
    (void)ignored;
    __asm__ volatile("syscall" : "+a"(rax) : : "rcx", "r11", "memory");
    marks = rax;
}

TEST(a_linux_call_without_handler_is_a_fault)
{
    CHECK(set_up());
    CHECK(faults(linux_write, 0, FAULT_SYSCALL));
    CHECK_EQ(fault.w[1], 1);
    CHECK_EQ(*(uint16_t *)fault.w[0], 0x050f); /* RIP is the SYSCALL instruction */
    CHECK_OK(answer(0, 0, 0));                 /* executes it again */
    CHECK_OK(sys_recv(ep, reply, &fault));
    CHECK_EQ(fault.tag, TAG(FAULT_SYSCALL, 4));
    CHECK_OK(sys_invoke0(victim.tcb, TCB_SUSPEND)); /* and so does this */
    CHECK_OK(sys_invoke0(victim.tcb, TCB_RESUME));
    CHECK_OK(sys_recv(ep, reply, &fault));
    CHECK_EQ(fault.tag, TAG(FAULT_SYSCALL, 4));
    CHECK_OK(answer(1, fault.w[0] + 2, 0));
    settle();
    CHECK_EQ(marks, 1);
}

extern const char handler_entry[], fixup_begin[], fixup_end[], fixup_landing[];
/* As the architecture page says: it steps over the red zone and keeps all but RAX, RCX, R11. */
__asm__(".text\n"
        "handler_entry: lea -128(%rsp), %rsp\n push %r11\n push %rcx\n"
        " lea 1000(%rax), %rax\n" /* the answer */
        " pop %rcx\n popfq\n lea 128(%rsp), %rsp\n jmp *%rcx\n"
        "fixup_begin: mov (%rdi), %rax\n fixup_end: ret\n"
        "fixup_landing: mov $-5, %rax\n ret\n");

static volatile uint64_t kept[16];
static void linux_call_keeps_registers(uint64_t number)
{
    uint64_t rax = number, flags;

    __asm__ volatile(
        "movq $0x1122, -8(%%rsp); movq $0x3344, -128(%%rsp)\n"
        "mov $2, %%rbx; mov $3, %%rdx; mov $4, %%rsi; mov $5, %%rdi; mov $6, %%r8; mov $7, %%r9\n"
        "mov $8, %%r10; mov $9, %%r12; mov $10, %%r13; mov $11, %%r14; mov $12, %%r15\n"
        "std; stc; syscall; pushfq; cld\n"
        "mov %%rbx, 0(%2); mov %%rdx, 8(%2); mov %%rsi, 16(%2); mov %%rdi, 24(%2); mov %%r8, 32(%2)\n"
        "mov %%r9, 40(%2); mov %%r10, 48(%2); mov %%r12, 56(%2); mov %%r13, 64(%2); mov %%r14, 72(%2)\n"
        "mov %%r15, 80(%2); pop %1; mov -8(%%rsp), %%rbx; mov %%rbx, 88(%2)\n"
        "mov -128(%%rsp), %%rbx; mov %%rbx, 96(%2)"
        : "+a"(rax), "=m"(*(uint64_t *)&kept[15])
        : "r"((uint64_t)&kept)
        : "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory",
          "cc");
    (void)flags;
    marks = rax;
}

TEST(linux_calls_go_to_the_registered_handler)
{
    CHECK(set_up());
    CHECK_OK(sys_invoke1(victim.tcb, TCB_SET_HANDLER, (uint64_t)handler_entry));
    CHECK_OK(thread_start(&victim, linux_call_keeps_registers, 60));
    settle();
    CHECK_EQ(marks, 1060);
    for (unsigned i = 0; i < 11; i++)
        CHECK_EQ(kept[i], i + 2);
    CHECK_EQ(kept[12], 0x3344); /* the red zone's far end; its near end the test's own pushfq used */
    CHECK_EQ(kept[15] & 0x401, 0x401);
    CHECK_OK(sys_invoke0(victim.tcb, TCB_SUSPEND));
    CHECK_OK(sys_invoke1(victim.tcb, TCB_SET_HANDLER, 0));
    CHECK(faults(linux_write, 0, FAULT_SYSCALL));
}

uint64_t accessor(uint64_t address);
__asm__(".globl accessor\naccessor: jmp fixup_begin\n");
static void accesses(uint64_t address)
{
    marks = accessor(address);
}

TEST(a_page_fault_in_the_fixup_range_lands)
{
    CHECK(set_up());
    CHECK_OK(sys_invoke3(victim.tcb, TCB_SET_FIXUP, (uint64_t)fixup_begin, fixup_end - fixup_begin,
                         (uint64_t)fixup_landing));
    CHECK_OK(thread_start(&victim, accesses, TEST_ADDRESS));
    settle();
    CHECK_EQ(marks, (uint64_t)-5);
    CHECK(map_frame(SLOT_VSPACE, TEST_ADDRESS, RIGHT_READ | RIGHT_WRITE));
    *(uint64_t *)TEST_ADDRESS = 99;
    CHECK_OK(sys_invoke0(victim.tcb, TCB_SUSPEND));
    CHECK_OK(thread_start(&victim, accesses, TEST_ADDRESS));
    settle();
    CHECK_EQ(marks, 99);
    CHECK(page_fault(reads, TEST_ADDRESS + PAGE_BYTES, PF_USER)); /* outside the range */
    CHECK(raises(accesses, 1ul << 47, 13));                       /* not a page fault */
    CHECK_OK(sys_invoke0(victim.tcb, TCB_SUSPEND));
    CHECK_OK(sys_invoke3(victim.tcb, TCB_SET_FIXUP, 0, 0, 0));
    CHECK(page_fault(accesses, TEST_ADDRESS + PAGE_BYTES, PF_USER));
}
