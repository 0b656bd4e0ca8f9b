/* SPDX-License-Identifier: BSD-2-Clause */
/* The short path of an exit's answer (kernel/fastexit.c) against the complete one (kernel/obj/vcpu.c): two
 * guests alike get the same random answers and must leave the same behind. What sends the second one's by
 * the complete path changes nothing else: the kinds that come without what nobody wanted. */
#include "support/vm.h"

#define ROUNDS  3000
#define CODE    0x1000
#define STACK   0x3f00
#define STARTS  32 /* instructions in the code page, 16 bytes apart */
#define PAGES   6  /* of 16 that the guest can name; others are page faults */
#define ODD(n)  (rnd() % (n) == 0)
#define FLAGS   (BIT(0) | BIT(2) | BIT(6) | BIT(7) | BIT(9) | BIT(11))
#define FLAG_TF BIT(8)

static uint64_t state;

static uint64_t rnd(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state >> 11;
}

/* Each is followed by CPUID, so that one that does not exit ends soon. */
static const uint8_t instructions[][8] = {
    { 0x0f, 0xa2 },                         /* cpuid */
    { 0xe6, 0x80 },                         /* out %al, $0x80 */
    { 0xe4, 0x40 },                         /* in $0x40, %al */
    { 0x48, 0x8b, 0x03 },                   /* mov (%rbx), %rax */
    { 0x48, 0x89, 0x03 },                   /* mov %rax, (%rbx) */
    { 0x0f, 0x32 },                         /* rdmsr */
    { 0x0f, 0x22, 0xd8 },                   /* mov %rax, %cr3 */
    { 0x0f, 0x01, 0x3b },                   /* invlpg (%rbx) */
    { 0xf4 },                               /* hlt */
    { 0xfb },                               /* sti */
    { 0x50 },                               /* push %rax */
    { 0x48, 0x01, 0xd8, 0x48, 0x87, 0xf7 }, /* add %rbx, %rax; xchg %rsi, %rdi */
    { 0x0f, 0x0b },                         /* ud2: an exception without a handler */
    { 0x4d, 0x89, 0xf8, 0x45, 0x31, 0xd2 }, /* mov %r15, %r8; xor %r10d, %r10d */
};
#define INSTRUCTIONS (sizeof(instructions) / sizeof(instructions[0]))

static void load(struct vm_test *v)
{
    for (unsigned i = 0; i < STARTS; i++) {
        for (unsigned k = 0; k < 8; k++)
            v->memory[CODE + 16 * i + k] =
                instructions[i % INSTRUCTIONS][k] ? instructions[i % INSTRUCTIONS][k] : 0x90;
        v->memory[CODE + 16 * i + 8] = 0x0f;
        v->memory[CODE + 16 * i + 9] = 0xa2;
    }
}

static bool make(struct vm_test *v, unsigned place)
{
    if (!vm_make_at(v, place, 0) || vm_recv(v) != ERR_OK)
        return false;
    load(v);
    vm_long_tables(v);
    op(v, OP_W0(OP_FILL_RUN, RWXU, 0, v->table[5]));
    op(v, OP_W1_RUN(0, PAGES));
    vm_long_mode(v, CODE, STACK, false);
    return vm_reply(v, NULL) == ERR_OK;
}

static uint64_t any_value(void)
{
    return ODD(2) ? (rnd() % 16) << 12 | (rnd() % 512 * 8) : rnd() << 11 ^ rnd();
}

static uint64_t any_event(void)
{
    static const uint8_t type[] = { EVENT_INTERRUPT, EVENT_NMI, EVENT_EXCEPTION, EVENT_SOFTWARE };
    unsigned t = type[rnd() % 4], vector = t == EVENT_EXCEPTION ? (ODD(2) ? 13 : 14)
                                           : t == EVENT_NMI     ? 2
                                                                : 64;

    return EVENT_MAKE(vector, t) | (t == EVENT_EXCEPTION ? EVENT_HAS_ERROR : 0);
}

/* Nothing of it takes the complete path by itself. */
static void any_answer(struct vm_test *v)
{
    volatile struct umbra_reply_page *r = v->r;

    r->groups = rnd() % 16; /* STATE_GPRS, RIP, RFLAGS, CR2 */
    r->gpr_mask = (uint16_t)(ODD(3) ? 0xf : rnd());
    for (unsigned i = 0; i < GPRS; i++)
        r->gpr[i] = any_value();
    r->gpr[RSP] = ODD(4) ? any_value() : STACK;
    if (!ODD(4))
        r->groups |= STATE_RIP;
    r->rip = CODE + 16 * (rnd() % STARTS);
    r->shadow = ODD(8);
    r->rflags = (rnd() & FLAGS) | (ODD(16) ? FLAG_TF : 0);
    r->cr2 = any_value();
    r->event = ODD(12) ? any_event() : 0;
    if (ODD(8)) {
        unsigned page = rnd() % 16;
        op(v, OP_W0(OP_FILL, ODD(2) ? SH_READ : RWXU, page, v->table[5]));
        op(v, page);
    }
    if (ODD(16))
        op(v, OP_W0(OP_FLUSH, 0, 0, 0));
}

static bool same_exit(const volatile struct umbra_exit_page *a, const volatile struct umbra_exit_page *b)
{
    uint64_t differ = (a->kind ^ b->kind) | (a->seq ^ b->seq) | (a->info[0] ^ b->info[0]) |
                      (a->info[1] ^ b->info[1]) | (a->interrupted ^ b->interrupted) |
                      (a->events ^ b->events) | (a->cr3_loads ^ b->cr3_loads) | (a->valid ^ b->valid) |
                      (a->cpl ^ b->cpl) | (a->shadow ^ b->shadow) | (a->ilen ^ b->ilen) | (a->rip ^ b->rip) |
                      (a->rflags ^ b->rflags) | (a->cr2 ^ b->cr2) |
                      (a->seg[SEG_CS].attributes ^ b->seg[SEG_CS].attributes);

    for (unsigned i = 0; i < GPRS; i++)
        differ |= a->gpr[i] ^ b->gpr[i];
    return !differ;
}

static bool answer(struct vm_test *v, unsigned round, uint64_t seed)
{
    bool over = v->x->kind == EXIT_SHUTDOWN || v->x->kind == EXIT_INVALID || v->x->kind == EXIT_EXCEPTION;

    state = seed + round * 0x9e3779b97f4a7c15ul;
    rnd();
    any_answer(v);
    if (over)
        vm_long_mode(v, CODE, STACK, false);
    return vm_reply(v, NULL) == ERR_OK;
}

TEST(random_answers_by_both_paths_leave_the_same)
{
    struct vm_test a, b;
    unsigned kinds = 0;

    CHECK(make(&a, 0));
    CHECK(make(&b, 1));
    for (unsigned round = 1; round <= ROUNDS; round++) {
        b.r->spare ^= 1u << EXIT_NONE;
        bool good_a = answer(&a, round, 88172645463325252ul), good_b = answer(&b, round, 88172645463325252ul);
        if (!good_a || !good_b || !same_exit(a.x, b.x)) {
            print_number("# round 0x", round, "");
            print_number(" kinds 0x", a.x->kind, "");
            print_number(" 0x", b.x->kind, "");
            print_number(" rip 0x", a.x->rip, "");
            print_number(" 0x", b.x->rip, "\n");
            CHECK(false);
            return;
        }
        CHECK_EQ(a.public->answered, b.public->answered);
        kinds |= 1u << a.x->kind;
    }
    CHECK_EQ(kinds & (1u << EXIT_PAGE | 1u << EXIT_CPUID | 1u << EXIT_IO | 1u << EXIT_HLT | 1u << EXIT_CR),
             1u << EXIT_PAGE | 1u << EXIT_CPUID | 1u << EXIT_IO | 1u << EXIT_HLT | 1u << EXIT_CR);
    for (unsigned i = 0; i < PAGES * PAGE_BYTES; i += 8)
        if (*(volatile uint64_t *)(a.memory + i) != *(volatile uint64_t *)(b.memory + i)) {
            CHECK_EQ(*(volatile uint64_t *)(a.memory + i), *(volatile uint64_t *)(b.memory + i));
            return;
        }
    CHECK(vm_audit(&a));
    CHECK(vm_audit(&b));
}

/* --- one entry: what the short path does by itself, against the complete one --- */

#define ENTRY_ROUNDS 4000
#define FIRST        2  /* entries 0 and 1 hold the guest's code */
#define LAST         16 /* guest memory of 16 pages; 8 to 11 cannot be written */

static bool make_protected(struct vm_test *v, unsigned place)
{
    if (!vm_make_at(v, place, 0) || vm_recv(v) != ERR_OK)
        return false;
    load(v);
    for (unsigned i = FIRST; i < LAST; i++)
        *(volatile uint64_t *)(v->memory + i * PAGE_BYTES) = i;
    if (sys_invoke2(v->space, GUESTSPACE_CHANGE, CHANGE_W0(0, CHANGE_PROTECT, RIGHT_READ, 4),
                    CHANGE_W1(8, 0)) != ERR_OK)
        return false;
    vm_long_tables(v);
    op(v, OP_W0(OP_FILL_RUN, RWXU, 0, v->table[5]));
    op(v, OP_W1_RUN(0, FIRST));
    vm_long_mode(v, CODE, CODE + 0xf00, false);
    return vm_reply(v, NULL) == ERR_OK;
}

/* Table, index, rights, frame, count: all as they may be, now and then one that may not. */
static void any_entry(struct vm_test *v)
{
    const cptr_t odd[] = { v->table[4], v->table[8], 0, v->vcpu, 0xfff0, CPTR_SUB(v->vm, 3) };
    const uint64_t frames[] = { 1023, 1024, BIT(27) + 2, BIT(40) + 2 };
    unsigned index = FIRST + rnd() % (LAST - FIRST), rights = rnd() % 32 | (ODD(16) ? 0 : SH_READ);
    uint64_t gfn = ODD(4) ? FIRST + rnd() % (LAST - FIRST) : index;
    cptr_t table = ODD(12) ? odd[rnd() % 6] : v->table[5];

    index = ODD(24) ? 510 + rnd() % 4 : index;
    gfn = ODD(24) ? frames[rnd() % 4] : gfn;
    rights |= ODD(24) ? SH_LARGE : 0;
    if (ODD(3)) {
        op(v, OP_W0(OP_DROP, rights, index, table));
    } else {
        bool run = !ODD(8);
        op(v, OP_W0(run ? OP_FILL_RUN : OP_FILL, rights, index, table));
        if (!ODD(32))
            op(v, run ? OP_W1_RUN(gfn, ODD(12) ? rnd() % 3 : 1) : gfn);
    }
    if (ODD(16))
        op(v, OP_W0(OP_FLUSH, 0, 0, 0));
}

/* A CPUID, a read, a write; at a page whose entry may be any. */
static err_t answer_entry(struct vm_test *v, uint64_t *index)
{
    volatile struct umbra_reply_page *r = v->r;
    unsigned page = FIRST + rnd() % (LAST - FIRST);

    r->groups = STATE_RIP | STATE_GPRS;
    r->rip = CODE + 16 * (ODD(2) ? 0 : 3 + rnd() % 2);
    r->gpr_mask = 1u << RAX | 1u << RBX;
    r->gpr[RBX] = page * PAGE_BYTES;
    r->gpr[RAX] = rnd();
    r->shadow = 0;
    return vm_reply(v, index);
}

static bool same_entries(const struct vm_test *a, const struct vm_test *b)
{
    for (unsigned i = 0; i < LAST; i++) {
        uint64_t x = 0, y = 0;
        sys_invoke(a->table[5], SHADOW_READ_BITS, 2, i, 1, 0, 0, &x);
        sys_invoke(b->table[5], SHADOW_READ_BITS, 2, i, 1, 0, 0, &y);
        if (x != y)
            return false;
    }
    return true;
}

static uint64_t dirty_pages(const struct vm_test *v)
{
    uint64_t bits = 0;

    sys_invoke(v->space, GUESTSPACE_HARVEST, 2, 0, 1, 0, 0, &bits);
    return bits;
}

static bool entry_round(struct vm_test *a, struct vm_test *b, uint64_t seed, unsigned *refused)
{
    uint64_t index_a = 0, index_b = 0;

    b->r->spare ^= 1u << EXIT_NONE;
    state = seed;
    rnd();
    any_entry(a);
    err_t e = answer_entry(a, &index_a);
    state = seed;
    rnd();
    any_entry(b);
    err_t f = answer_entry(b, &index_b);
    *refused += e != ERR_OK;
    return e == f && (e == ERR_OK || index_a == index_b) && same_exit(a->x, b->x) && same_entries(a, b);
}

TEST(random_entries_by_both_paths_leave_the_same)
{
    struct vm_test a, b;
    unsigned refused = 0;

    CHECK(make_protected(&a, 0));
    CHECK(make_protected(&b, 1));
    for (unsigned round = 1; round <= ENTRY_ROUNDS; round++) {
        if (!entry_round(&a, &b, 88172645463325252ul + round * 0x9e3779b97f4a7c15ul, &refused)) {
            print_number("# round 0x", round, "\n");
            CHECK(false);
            return;
        }
    }
    CHECK(refused > ENTRY_ROUNDS / 20);
    CHECK(refused < ENTRY_ROUNDS / 2);
    CHECK(vm_audit(&a));
    CHECK(vm_audit(&b));
    CHECK_EQ(dirty_pages(&a), dirty_pages(&b));
    for (unsigned i = 0; i < 2; i++) { /* all tables are of an earlier epoch */
        struct vm_test *v = i ? &b : &a;
        uint64_t index = 0;
        CHECK_OK(sys_invoke2(v->space, GUESTSPACE_CHANGE, CHANGE_W0(0, CHANGE_PROTECT, RIGHT_READ, 1),
                             CHANGE_W1(12, 0)));
        op(v, OP_W0(OP_FILL_RUN, RWXU, FIRST, v->table[5]));
        op(v, OP_W1_RUN(FIRST, 1));
        v->r->spare ^= i << EXIT_NONE;
        CHECK_EQ(vm_reply(v, &index), ERR_STALE_TABLE);
        CHECK_EQ(index, 0);
    }
}

/* --- whose table it is --- */

/* A second VM, and its vCPU, with the guest memory of another: their tables are of the same epoch. */
static bool make_beside(struct vm_test *v, const struct vm_test *other)
{
    uint64_t at = VM_PAGES_AT + 0x20000;

    *v = (struct vm_test){ .place = 2, .space = other->space };
    v->vm = new_object(OBJ_VM, VM_PAGING_SHADOW);
    v->vcpu = new_object(OBJ_VCPU, 0);
    v->table[5] = new_object(OBJ_SHADOW, 0);
    v->exit_view = new_slot();
    v->reply_view = new_slot();
    v->x = (const volatile void *)at;
    v->r = (volatile void *)(at + 0x1000);
    if (sys_invoke1(v->vm, VM_BIND, v->space) != ERR_OK || sys_invoke1(v->vcpu, VCPU_BIND, v->vm) != ERR_OK ||
        sys_invoke1(v->table[5], SHADOW_BIND, v->vm) != ERR_OK || !map_tables(SLOT_VSPACE, at) ||
        sys_invoke2(v->vcpu, VCPU_VIEW, v->exit_view, 0) != ERR_OK ||
        sys_invoke2(v->exit_view, VIEW_MAP, SLOT_VSPACE, at) != ERR_OK ||
        sys_invoke2(v->vcpu, VCPU_VIEW, v->reply_view, 1) != ERR_OK ||
        sys_invoke2(v->reply_view, VIEW_MAP, SLOT_VSPACE, at + 0x1000) != ERR_OK || vm_recv(v) != ERR_OK)
        return false;
    op(v, OP_W0(OP_SETUP, 0, SHADOW_KIND(SHADOW_LONG, 1), v->table[5]));
    return vm_reply(v, NULL) == ERR_OK;
}

/* A leaf, and an entry that goes, by the complete path and by the short one. */
static void both_refuse(struct vm_test *v, cptr_t table, err_t expected)
{
    for (unsigned i = 0; i < 4; i++) {
        uint64_t index = 1;
        op(v, OP_W0(i & 1 ? OP_DROP : OP_FILL_RUN, i & 1 ? 0 : RWXU, 40, table));
        if (!(i & 1))
            op(v, OP_W1_RUN(4, 1));
        v->r->spare = i < 2 ? 1u << EXIT_NONE : 0; /* what is refused is not kept */
        CHECK_EQ(vm_reply(v, &index), expected);
        CHECK_EQ(index, 0);
    }
}

TEST(tables_that_are_not_the_answerers_to_write_are_refused_by_both_paths)
{
    struct vm_test v, beside;
    cptr_t loose = new_object(OBJ_SHADOW, 0), page = new_object(OBJ_UNTYPED, 12), of_page;

    CHECK(make_protected(&v, 0));
    CHECK(make_beside(&beside, &v));
    of_page = new_object_of(page, OBJ_SHADOW, 0);
    CHECK_OK(sys_invoke1(of_page, SHADOW_BIND, v.vm));
    op(&v, OP_W0(OP_SETUP, 0, SHADOW_KIND(SHADOW_LONG, 1), of_page));
    CHECK_OK(vm_reply(&v, NULL));
    both_refuse(&v, copy_cap(v.table[5], RIGHT_READ), ERR_NO_RIGHT);
    both_refuse(&v, beside.table[5], ERR_WRONG_VM);
    both_refuse(&v, loose, ERR_WRONG_VM);
    both_refuse(&v, page, ERR_WRONG_TYPE); /* what the table's memory is of */
    CHECK(vm_audit(&v));
    CHECK(vm_audit(&beside));
}

/* What one entry made is seen by all that goes over a whole table, and a 4 KiB piece of a large frame is that
 * piece, with its rights. */
TEST(a_single_leaf_is_as_one_of_many)
{
    struct vm_test v;
    cptr_t large = new_object(OBJ_RANGE, 21);

    CHECK(make_protected(&v, 0));
    CHECK_OK(sys_invoke2(v.space, GUESTSPACE_CHANGE, CHANGE_W0(large, CHANGE_MAP_2M, RIGHT_READ, 512),
                         CHANGE_W1(1024, 0)));
    op(&v, OP_W0(OP_FILL_RUN, RWXU | SH_DIRTY, 300, v.table[5]));
    op(&v, OP_W1_RUN(1024 + 7, 1));
    CHECK_OK(vm_reply(&v, NULL));
    uint64_t bits = 0;
    CHECK_OK(sys_invoke(v.table[5], SHADOW_READ_BITS, 2, 300, 1, 0, 0, &bits));
    CHECK_EQ(bits & 3, 1); /* present, not writable */
    CHECK(vm_audit(&v));
    op(&v, OP_W0(OP_CLEAR, 0, 0, v.table[5]));
    op(&v, OP_W0(OP_FILL_RUN, RWXU, 0, v.table[5]));
    op(&v, OP_W1_RUN(0, FIRST));
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_OK(sys_invoke(v.table[5], SHADOW_READ_BITS, 2, 300, 1, 0, 0, &bits));
    CHECK_EQ(bits, 0);
    CHECK(vm_audit(&v));
}

TEST(a_single_leaf_that_may_be_written_is_in_the_dirty_log)
{
    struct vm_test v;

    CHECK(make_protected(&v, 0));
    CHECK(dirty_pages(&v)); /* as the window left it; all tables are of an earlier epoch now */
    vm_long_tables(&v);
    op(&v, OP_W0(OP_FILL_RUN, RWXU, 0, v.table[5]));
    op(&v, OP_W1_RUN(0, FIRST));
    CHECK_OK(vm_reply(&v, NULL));
    const struct {
        unsigned gfn, rights;
    } leaf[] = { { 8, RWXU }, { 12, SH_READ | SH_EXEC | SH_DIRTY }, { 13, RWXU } }; /* 8 is read-only */
    for (unsigned i = 0; i < 3; i++) {
        op(&v, OP_W0(OP_FILL_RUN, leaf[i].rights, leaf[i].gfn, v.table[5]));
        op(&v, OP_W1_RUN(leaf[i].gfn, 1));
        CHECK_OK(vm_reply(&v, NULL));
        CHECK_EQ(v.x->kind, EXIT_CPUID);
    }
    CHECK_EQ(dirty_pages(&v) >> FIRST, BIT(13) >> FIRST);
}

/* --- the window for an interrupt --- */

/* An answer that does not ask for it takes it back, whether the guest is entered by it or an event comes
 * first.
 */
TEST(a_window_that_is_not_asked_for_again_is_none_by_both_paths)
{
    static const uint8_t code[] = { 0xe6, 0x80, 0xe6, 0x80, 0xfb, 0x90, 0x90, 0xf4 }; /* out, out, sti, hlt */

    for (unsigned i = 0; i < 4; i++) {
        struct vm_test v;
        CHECK(make_protected(&v, i));
        vm_load(&v, CODE, code, sizeof(code));
        v.r->flags = REPLY_WINDOW;
        CHECK_OK(vm_reply(&v, NULL));
        CHECK_EQ(v.x->kind, EXIT_IO);
        if (i & 1) {
            CHECK_OK(sys_signal(v.notification));
            v.r->spare = i & 2 ? 1u << EXIT_NONE : 0;
            vm_skip(&v, 2);
            CHECK_OK(vm_reply(&v, NULL));
            CHECK_EQ(v.x->kind, EXIT_EVENT);
        } else {
            v.r->spare = i & 2 ? 1u << EXIT_NONE : 0;
            vm_skip(&v, 2);
            CHECK_OK(vm_reply(&v, NULL));
            CHECK_EQ(v.x->kind, EXIT_IO);
            vm_skip(&v, 2);
        }
        CHECK_OK(vm_reply(&v, NULL));
        if (i & 1) {
            CHECK_EQ(v.x->kind, EXIT_IO);
            vm_skip(&v, 2);
            CHECK_OK(vm_reply(&v, NULL));
        }
        CHECK_EQ(v.x->kind, EXIT_HLT);
    }
}

/* Segments are current only where they were wanted, or asked for; CS but its base always. */
TEST(spared_kinds_come_without_the_wanted_groups)
{
    struct vm_test v;

    CHECK(vm_make(&v));
    load(&v);
    CHECK_OK(vm_recv(&v));
    vm_long_tables(&v);
    op(&v, OP_W0(OP_FILL_RUN, RWXU, 0, v.table[5]));
    op(&v, OP_W1_RUN(0, PAGES));
    vm_long_mode(&v, CODE, STACK, false);
    v.r->want = STATE_SEGMENTS;
    v.r->spare = 1u << EXIT_CPUID;
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_CPUID);
    CHECK_EQ(v.x->valid & STATE_SEGMENTS, 0);
    CHECK_EQ(v.x->seg[SEG_CS].attributes, 0xa9b);
    CHECK_OK(sys_invoke1(v.vcpu, VCPU_SYNC, STATE_SEGMENTS | STATE_RANDOM));
    CHECK_EQ(v.x->valid & STATE_SEGMENTS, STATE_SEGMENTS);
    CHECK_EQ(v.x->seg[SEG_DS].attributes, 0xc93);
    uint64_t random = v.x->random;
    v.r->groups = STATE_RIP;
    v.r->rip = CODE + 16;
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_IO);
    CHECK_EQ(v.x->valid & STATE_SEGMENTS, STATE_SEGMENTS);
    CHECK_EQ(v.x->random, random);
}
