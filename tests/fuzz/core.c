/* SPDX-License-Identifier: BSD-2-Clause */
/* Fuzz target: the VMM's core under any exits of a guest in any mode: page faults at memory, tables and
 * devices, ports, control registers and MSRs, the clock in memory, events that were broken off, new epochs.
 *
 * Oracles, at each exit: the kernel takes the answer (its rules for events and state, written here again); it
 * writes nothing outside the segment and guest memory. A VMM that takes over before the answer finds state
 * and memory as they were at the exit (I8; accessed and dirty bits may have come). It has no shadow tables,
 * so it takes no short way: what both answer, and leave, is the same (but for writes to tables, and IN done
 * twice).
 */
// USES: servers/vmm/core/*.c servers/vmm/shadow/*.c servers/vmm/x86/*.c servers/vmm/dev/*.c
// USES: servers/vmm/policy/*.c tests/host/support/gmem_host.c
#include "support/fuzz.h"

#include "check.h"
#include "servers/vmm/core/vmm.h"
#include "servers/vmm/policy/cr.h"
#include "tests/host/support/gmem_host.h"

#include <stdlib.h>
#include <string.h>

#define PAGES     32u
#define BYTES     (PAGES * PAGE_BYTES)
#define TABLES    40u
#define STEPS_MAX 40u
#define CODE      0xd000ull
#define DATA      0xe000ull
#define PT        0x4000ull
#define PT32      0x9000ull
#define PDPT      0x7000ull
#define HZ        1000000000ull
#define A_AND_D   0x60u

/* Pages of the guest's address space behind its memory: devices, ROM, a hole. */
static const uint64_t devices[] = { 0xfee00000, 0xfec00000, 0xa0000, 0xc0000, 0xff000000, 0x7000000000 };
#define FIRST_DEVICE PAGES
#define LINEAR_PAGES (PAGES + sizeof(devices) / sizeof(devices[0]))

struct incarnation {
    struct vmm vmm;
    void *shadow;
};

static struct rig {
    struct gmem *mem;
    struct vmm_segment *segment, *kept_segment;
    struct umbra_exit_page exit;
    struct umbra_reply_page reply;
    struct vmm_setup setup;
    struct shadow_tuning tuning;
    struct cpuid_host host;
    struct incarnation first, second;
    uint8_t *before, *after; /* guest memory at the exit; as the first left it */
    uint64_t state[VMM_STATE_WORDS];
} r;

static void put(uint64_t at, unsigned bytes, uint64_t value)
{
    memcpy(r.mem->base + at, &value, bytes);
}

/* Tables of each format for the same addresses: all of memory, and the devices behind it. Accessed and dirty
 * already, most of them: what a VMM sets there it does not take back, and then cannot be compared. */
static void make_tables(void)
{
    for (unsigned i = 0; i < LINEAR_PAGES; i++) {
        uint64_t at = i < PAGES ? (uint64_t)i << PAGE_SHIFT : devices[i - FIRST_DEVICE];
        put(PT + 8 * i, 8, at | (i % 8 == 7 ? 7 : 0x67));
        put(PT32 + 4 * i, 4, at | (i % 8 == 7 ? 7 : 0x67));
    }
    put(0x1000, 8, 0x2027);
    put(0x6000, 8, 0x2027);
    put(0x2000, 8, 0x3027);
    put(0x3000, 8, PT | 0x27);
    put(PDPT, 8, 0x3001);
    put(PDPT + 0x20, 8, 0x3001);
    put(0x8000, 4, PT32 | 0x27);
    put(0xa000, 4, PT32 | 0x27);
}

enum { REAL, PROTECTED, TWO_LEVELS, PAE, LONG, MODES };

static void make_segments(struct umbra_segment *seg, unsigned mode, unsigned cpl)
{
    unsigned dpl = cpl << 5, wide = mode == REAL ? 0 : 0xc00;

    for (unsigned i = 0; i < SEGS; i++)
        seg[i] =
            (struct umbra_segment){ mode == REAL ? 0 : (uint16_t)(0x10 | cpl), (uint16_t)(0x93 | dpl | wide),
                                    mode == REAL ? 0xffff : 0xffffffff, 0 };
    seg[SEG_CS] = (struct umbra_segment){ mode == REAL ? 0 : (uint16_t)(8 | cpl),
                                          (uint16_t)(mode == LONG ? 0xa9b | dpl : 0x9b | dpl | wide),
                                          mode == REAL ? 0xffff : 0xffffffff, 0 };
    seg[SEG_GDTR] = (struct umbra_segment){ 0, 0, 0x7f, DATA };
    seg[SEG_IDTR] = (struct umbra_segment){ 0, 0, 0x3ff, 0 };
    seg[SEG_LDTR] = (struct umbra_segment){ 0, 0x82, 0, 0 };
    seg[SEG_TR] = (struct umbra_segment){ 0, 0x8b, 0x67, DATA + 0x100 };
}

static bool incarnate(struct incarnation *i)
{
    r.setup.shadow_memory = i->shadow;
    if (!vmm_init(&i->vmm, &r.setup))
        return false;
    i->vmm.mem.context = r.mem->context;
    return true;
}

static void begin(unsigned mode)
{
    static const uint64_t cr3[MODES] = { 0, 0, 0x8000, 0x7000, 0x1000 };
    struct boot_cpu cpu = { .rip = CODE, .rflags = 2, .cr3 = cr3[mode], .cr4 = mode >= PAE ? CR4_PAE : 0 };

    cpu.cr0 = CR0_ET | (mode != REAL ? CR0_PE : 0) | (mode >= TWO_LEVELS ? CR0_PG | CR0_WP : 0);
    cpu.efer = mode == LONG ? EFER_LME | EFER_LMA : 0;
    make_segments(cpu.seg, mode, 0);
    r.exit =
        (struct umbra_exit_page){ .kind = EXIT_START, .seq = 1, .epoch = 7, .tsc = HZ, .valid = STATE_ALL };
    CHECK(incarnate(&r.first));
    CHECK_EQ(vmm_resume(&r.first.vmm, &r.setup, r.exit.tsc), VMM_NEW);
    vmm_start(&r.first.vmm, &cpu);
    memcpy(r.exit.seg, cpu.seg, sizeof(cpu.seg));
    r.exit.rflags = cpu.rflags;
    r.exit.rip = cpu.rip;
}

/* Somebody has changed entries of them; of the four pointers of PAE paging after they were loaded, as no
 * processor loads bad ones. */
static void change_tables(struct fuzz_input *in, unsigned n, unsigned mode)
{
    uint64_t at[3], value[3];

    for (unsigned i = 0; i < n; i++) {
        at[i] = (1 + fuzz_byte(in) % 10) * PAGE_BYTES;
        at[i] += fuzz_byte(in) % 48 * 8;
        value[i] = fuzz_value(in);
        if (at[i] / PAGE_BYTES != PDPT / PAGE_BYTES)
            put(at[i], 8, value[i]);
    }
    begin(mode);
    for (unsigned i = 0; i < n; i++)
        if (at[i] / PAGE_BYTES == PDPT / PAGE_BYTES)
            put(at[i], 8, value[i]);
}

/* --- what a kernel takes (kernel/obj/vcpu.c, kernel/arch/x86_64/svm_state.c) --- */

static bool canonical(uint64_t a)
{
    return a + (1ull << 47) < 1ull << 48;
}

static void check_event(uint64_t e)
{
    unsigned type = EVENT_TYPE(e), vector = EVENT_VECTOR(e);

    CHECK(!e ||
          (e & EVENT_VALID && (type == EVENT_INTERRUPT || (type >= EVENT_NMI && type <= EVENT_SOFTWARE))));
    if (e && type == EVENT_EXCEPTION)
        CHECK(vector < 32 && vector != 2);
}

static void check_taken(const struct umbra_reply_page *y)
{
    CHECK_EQ(y->seq, r.exit.seq);
    CHECK_LE(y->op_words, REPLY_OPS_MAX);
    CHECK(!(y->groups & ~(unsigned)STATE_ALL) && !(y->want & ~(unsigned)STATE_ALL));
    check_event(y->event);
    for (unsigned i = 0; i < SEGS && y->groups & STATE_SEGMENTS; i++)
        CHECK(canonical(y->seg[i].base));
    if (y->groups & STATE_MSRS)
        CHECK(canonical(y->msrs.lstar) && canonical(y->msrs.cstar) && canonical(y->msrs.kernel_gs_base) &&
              canonical(y->msrs.sysenter_esp) && canonical(y->msrs.sysenter_eip));
    if (y->groups & STATE_CONTROL) {
        CHECK(!(y->cr0 >> 32) && !(y->efer & EFER_SVME));
        CHECK(!(y->cr0 & CR0_PG) || y->cr0 & CR0_PE);
        CHECK(!(y->efer & EFER_LMA) || y->cr0 & CR0_PG);
    }
    if (y->groups & STATE_DEBUG)
        CHECK(!(y->dr6 >> 32) && !(y->dr7 >> 32));
}

/* --- an answer as the guest goes on from it --- */

static void apply(struct umbra_exit_page *x, const struct umbra_reply_page *y)
{
    for (unsigned i = 0; i < GPRS; i++)
        if (y->groups & STATE_GPRS && y->gpr_mask >> i & 1)
            x->gpr[i] = y->gpr[i];
    if (y->groups & STATE_RIP) {
        x->rip = y->rip;
        x->shadow = y->shadow & 1;
    }
    if (y->groups & STATE_RFLAGS)
        x->rflags = y->rflags;
    if (y->groups & STATE_CR2)
        x->cr2 = y->cr2;
    if (y->groups & STATE_SEGMENTS) {
        memcpy(x->seg, y->seg, sizeof(x->seg));
        x->cpl = y->seg[SEG_SS].attributes >> 5 & 3;
    }
    if (y->groups & STATE_MSRS)
        x->msrs = y->msrs;
}

static bool goes_on(const struct umbra_reply_page *y)
{
    return y->event || y->groups & STATE_RIP;
}

/* IN done twice in one exit (servers/vmm/core/quick.c, in_again). */
static bool done_twice(const struct umbra_reply_page *y)
{
    return r.exit.kind == EXIT_IO && y->groups & STATE_RIP && y->rip != r.exit.info[1];
}

static void check_same(enum vmm_end a, const struct umbra_reply_page *first, enum vmm_end b,
                       const struct umbra_reply_page *second)
{
    struct umbra_exit_page x = r.exit, y = r.exit;

    if (done_twice(first) || (r.exit.kind == EXIT_PAGE && !(goes_on(first) && goes_on(second))))
        return;
    CHECK_EQ(a, b);
    apply(&x, first);
    apply(&y, second);
    CHECK_MEM_EQ(&x, &y, sizeof(x));
    CHECK_EQ(first->event, second->event);
    CHECK_EQ(first->flags, second->flags);
    CHECK_MEM_EQ(&r.segment->state, &r.kept_segment->state, VMM_STATE_WORDS * 8);
    for (uint64_t i = 0; i < BYTES; i++)
        if ((r.mem->base[i] ^ r.after[i]) & ~(i % 4 ? 0 : A_AND_D))
            FAIL("byte %#llx of memory: %#x, done again %#x", (unsigned long long)i, r.after[i],
                 r.mem->base[i]);
}

/* --- one exit --- */

/* Nothing but accessed and dirty bits has come to memory. False: some have. */
static bool as_it_was(void)
{
    bool same = true;

    for (uint64_t i = 0; i < BYTES; i++) {
        uint8_t now = r.mem->base[i], was = r.before[i];
        if (now == was)
            continue;
        if (i % 4 || (now ^ was) & ~A_AND_D || was & ~now)
            FAIL("byte %#llx of memory was %#x, is %#x", (unsigned long long)i, was, now);
        same = false;
    }
    return same;
}

static enum vmm_end handle(struct vmm *v)
{
    memset(&r.reply, 0, sizeof(r.reply));
    vmm_begin(v);
    enum vmm_end end = vmm_handle(v);
    check_taken(&r.reply);
    return end;
}

static enum vmm_end do_exit(void)
{
    uint64_t *state = (uint64_t *)(void *)&r.segment->state;

    memcpy(r.before, r.mem->base, BYTES);
    memcpy(r.state, state, sizeof(r.state));
    enum vmm_end end = handle(&r.first.vmm);
    CHECK_NE(end, VMM_END_BROKEN);
    CHECK(machine_check(&r.segment->state.machine));
    struct umbra_reply_page answer = r.reply;
    memcpy(r.after, r.mem->base, BYTES);
    memcpy(r.kept_segment, r.segment, sizeof(*r.segment));
    CHECK(incarnate(&r.second)); /* the first dies here */
    CHECK_EQ(vmm_resume(&r.second.vmm, &r.setup, r.exit.tsc), VMM_CONTINUES);
    CHECK_MEM_EQ(state, r.state, sizeof(r.state));
    if (as_it_was())
        check_same(end, &answer, handle(&r.second.vmm), &r.reply);
    memcpy(r.mem->base, r.after, BYTES); /* as if it had lived */
    memcpy(r.segment, r.kept_segment, sizeof(*r.segment));
    vmm_commit(&r.first.vmm);
    apply(&r.exit, &answer);
    return end;
}

/* --- exits --- */

static bool is_16(const struct umbra_exit_page *x)
{
    unsigned cs = x->seg[SEG_CS].attributes;
    return !(r.segment->state.efer & EFER_LMA && cs & BIT(9)) && !(cs & BIT(10));
}

/* A bit of the input is left over: *other. */
static uint64_t some_address(struct fuzz_input *in, bool *other)
{
    uint8_t page = fuzz_byte(in), offset = fuzz_byte(in);

    *other = offset & 0x80;
    return ((uint64_t)(page % LINEAR_PAGES) << PAGE_SHIFT) + (page & 0x40 ? 0xff0 : 0) + offset % 0x40 * 8 +
           (page & 0x80 ? 1ull << 30 : 0);
}

static void give_code(const uint8_t *bytes, unsigned n)
{
    if (!shadow_is_table(r.first.vmm.shadow, (gfn_t){ CODE >> PAGE_SHIFT }) &&
        r.exit.rip - CODE < PAGE_BYTES - n)
        memcpy(r.mem->base + r.exit.rip, bytes, n);
}

/* IN, OUT, INS, OUTS: the processor says what it is. */
static void port_exit(struct fuzz_input *in)
{
    static const uint8_t opcodes[] = {
        0xe4, 0xe5, 0xe6, 0xe7, 0xec, 0xed, 0xee, 0xef, 0x6c, 0x6d, 0x6e, 0x6f
    };
    static const uint16_t ports[] = { 0x20, 0x21, 0x40,  0x43,  0x60,  0x61,  0x64,  0x70,  0x71,  0x92,
                                      0xa0, 0xa1, 0x3f8, 0x3fa, 0x3fd, 0x2f8, 0x510, 0x511, 0x604, 0xcf8 };
    uint8_t what = fuzz_byte(in), how = fuzz_byte(in), code[4], n = 0;
    uint8_t op = opcodes[what % 12];
    bool rep = op < 0x70 && how & 1, other = how & 2, copy = how & 0x80;
    uint16_t port = how & 4 ? (uint16_t)fuzz_number(in, 2) : ports[(how >> 3 & 15) + (what >> 7) * 4];
    unsigned width = !(op & 1) ? 1 : is_16(&r.exit) != other ? 2 : 4;

    if (other)
        code[n++] = 0x66;
    if (rep)
        code[n++] = 0xf3;
    code[n++] = op;
    if (op >= 0xe4 && op < 0xe8)
        code[n++] = (uint8_t)port, port &= 0xff;
    else
        r.exit.gpr[RDX] = port;
    give_code(code, n);
    if (copy && r.exit.rip - CODE < PAGE_BYTES - 16 &&
        !shadow_is_table(r.first.vmm.shadow, (gfn_t){ CODE >> PAGE_SHIFT }))
        memcpy(r.mem->base + r.exit.rip + n, code, n);
    r.exit.kind = EXIT_IO;
    r.exit.info[0] = (uint64_t)port << 16 | width << 4 | (op & 2 ? 0 : EXIT_IO_IN) |
                     (op < 0x70 ? EXIT_IO_STRING : 0) | (rep ? EXIT_IO_REP : 0);
    r.exit.info[1] = r.exit.rip + n;
    r.exit.rflags |= 0x3000; /* the processor has looked at IOPL */
}

static void page_exit(struct fuzz_input *in)
{
    static const uint8_t moves[][4] = { { 0x48, 0x89, 0x03 }, { 0x89, 0x03 },
                                        { 0x8b, 0x03 },       { 0x48, 0x8b, 0x03 },
                                        { 0x48, 0x87, 0x03 }, { 0xf3, 0x48, 0xab },
                                        { 0x88, 0x03 },       { 0xf0, 0x0f, 0xb1, 0x03 } };
    uint8_t how = fuzz_byte(in);
    bool other; /* the instruction's address is not the fault's */
    uint64_t at = some_address(in, &other);

    if (how & 0x80)
        give_code(moves[how & 7], 4);
    r.exit.kind = EXIT_PAGE;
    r.exit.gpr[RBX] = r.exit.gpr[RDI] = other ? at ^ 0x100 : at;
    r.exit.info[0] = how & 0x40 ? r.exit.rip : at;
    r.exit.info[1] = (how & 0x40 ? 0x10 : how & 8 ? 2 : 0) | (how & 0x20 ? 1 : 0) | (r.exit.cpl == 3 ? 4 : 0);
    if (how & 0x10 && how & 7) { /* it broke off the delivery of an event, as a kernel says it */
        static const uint8_t types[] = { EVENT_EXCEPTION, EVENT_EXCEPTION, EVENT_SOFTWARE, EVENT_INTERRUPT };
        uint8_t type = types[how & 3], vector = fuzz_byte(in) % (type == EVENT_EXCEPTION ? 32 : 256);
        r.exit.interrupted = EVENT_MAKE(type == EVENT_EXCEPTION && vector == 2 ? 3 : vector, type);
    }
}

static void register_exit(struct fuzz_input *in)
{
    static const uint32_t msrs[] = { 0x10,       0x1b,       0x6e0,      0xc0000080, 0x4b564d00,
                                     0x4b564d01, 0xc0000081, 0xc0000100, 0xc0000101, 0xc0000102,
                                     0x174,      0x277,      0x8b };
    static const uint8_t two[] = { 0x20, 0x22, 0x21, 0x23, 0x30, 0x32, 0x01,
                                   0xa2, 0x06, 0x08, 0x09, 0x0b, 0xa2, 0x31 };
    static const enum exit_kind kinds[] = { EXIT_CR,    EXIT_CR,          EXIT_DR,          EXIT_DR,
                                            EXIT_MSR,   EXIT_MSR,         EXIT_CR,          EXIT_CPUID,
                                            EXIT_CR,    EXIT_INSTRUCTION, EXIT_INSTRUCTION, EXIT_INSTRUCTION,
                                            EXIT_CPUID, EXIT_INSTRUCTION };
    static const uint16_t roots[] = { 0x1000, 0x6000, 0x7000, 0x7020, 0x8000, 0xa000 };
    uint8_t first = fuzz_byte(in), which = first % sizeof(two), n = 0, code[4];
    uint8_t rex = first & 0x80 && r.segment->state.efer & EFER_LMA ? 0x40 | (first >> 4 & 7 & 5) : 0;
    bool other;
    uint8_t value = fuzz_byte(in), modrm = fuzz_byte(in), reg = (modrm & 7) | (rex & 1 ? 8 : 0);

    if (rex)
        code[n++] = rex;
    code[n++] = 0x0f;
    code[n++] = two[which];
    code[n++] = modrm;
    give_code(code, n);
    r.exit.kind = two[which] == 0x01 && (modrm & 0x38) == 0x38 ? EXIT_INVLPG : kinds[which];
    r.exit.gpr[reg] = value & 0x80   ? fuzz_value(in)
                      : value & 0x40 ? some_address(in, &other)
                      : value & 0x20 ? roots[value % 6]
                                     : r.segment->state.cr0 ^ 1ull << (value & 31);
    if (kinds[which] == EXIT_MSR) {
        r.exit.gpr[RCX] = msrs[value % 13];
        r.exit.gpr[RAX] = fuzz_value(in);
        r.exit.gpr[RDX] = (uint32_t)(r.exit.gpr[RAX] >> 32);
        r.exit.gpr[RAX] = (uint32_t)r.exit.gpr[RAX];
    }
}

static void other_exit(struct fuzz_input *in)
{
    static const enum exit_kind kinds[] = { EXIT_HLT,  EXIT_EVENT,     EXIT_WINDOW,
                                            EXIT_ROOT, EXIT_EXCEPTION, EXIT_INSTRUCTION };
    uint8_t what = fuzz_byte(in), code[15];

    r.exit.kind = kinds[what % 6];
    if (r.exit.kind == EXIT_HLT)
        give_code((const uint8_t *)"\xf4", 1);
    if (r.exit.kind == EXIT_EXCEPTION) {
        r.exit.info[0] = what & 0x40 ? 1 : what & 0x80 ? 8 : 17;
        r.exit.info[1] = what & 0x40 ? 0xffff0ff1 : 0;
    }
    if (r.exit.kind == EXIT_INSTRUCTION) {
        fuzz_bytes(in, code, sizeof(code));
        give_code(code, sizeof(code));
    }
    if (what & 0x20)
        r.exit.epoch++; /* something was taken from its memory: all tables are gone */
}

/* The guest has done something else meanwhile. */
static void go_elsewhere(struct fuzz_input *in)
{
    uint8_t how = fuzz_byte(in);

    r.exit.rip = CODE + (how & 15) * 0x10 + (how & 0x10 ? PAGE_BYTES - 0x100 : 0);
    r.exit.rflags = 2 | (how & 0x20 ? X86_FLAG_IF : 0) | ((how & 0xc0) == 0xc0 ? X86_FLAG_TF : 0);
    r.exit.shadow = (how & 0xc0) == 0x80;
    r.exit.gpr[fuzz_byte(in) % GPRS] = fuzz_value(in);
}

static void take_exit(struct fuzz_input *in)
{
    uint8_t what = fuzz_byte(in);

    r.exit.seq++;
    r.exit.tsc += 1 + (what & 0x80 ? fuzz_number(in, 3) * 16 : 100);
    r.exit.interrupted = r.exit.info[0] = r.exit.info[1] = r.exit.ilen = 0;
    if (what & 0x40)
        go_elsewhere(in);
    switch (what & 7) {
    case 0 ... 1:
        port_exit(in);
        break;
    case 2 ... 4:
        page_exit(in);
        break;
    case 5 ... 6:
        register_exit(in);
        break;
    default:
        other_exit(in);
    }
    check_note("exit %llu kind %u info %#llx %#llx rip %#llx", (unsigned long long)r.exit.seq, r.exit.kind,
               (unsigned long long)r.exit.info[0], (unsigned long long)r.exit.info[1],
               (unsigned long long)r.exit.rip);
}

static void make_rig(void)
{
    static cptr_t caps[TABLES];
    for (unsigned i = 0; i < TABLES; i++)
        caps[i] = 100 + i;
    r.mem = gmem_host_new(PAGES);
    r.segment = calloc(1, sizeof(*r.segment)); /* exactly: the sanitizer sees each byte beside it */
    r.kept_segment = malloc(sizeof(*r.segment));
    r.before = malloc(BYTES);
    r.after = malloc(BYTES);
    r.first.shadow = aligned_alloc(64, (shadow_bytes(TABLES, PAGES) + 63) & ~63ul);
    r.second.shadow = aligned_alloc(64, (shadow_bytes(TABLES, PAGES) + 63) & ~63ul);
    r.setup = (struct vmm_setup){ .segment = r.segment,
                                  .exit = &r.exit,
                                  .reply = &r.reply,
                                  .window = r.mem->base,
                                  .memory_bytes = BYTES,
                                  .tables = caps,
                                  .table_count = TABLES,
                                  .tuning = &r.tuning,
                                  .cpuid = &r.host,
                                  .tsc_hz = HZ,
                                  .seconds = 1767225600 };
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct fuzz_input in = { bytes, bytes + n };
    uint8_t mode = fuzz_byte(&in);

    if (!r.mem)
        make_rig();
    memset(r.mem->base, 0, BYTES);
    memset(r.segment, 0, sizeof(*r.segment));
    memset(&r.host, mode & 0x80 ? 0xff : 0, sizeof(r.host));
    r.host.enlighten = mode >> 6 & 1;
    r.tuning = shadow_default_tuning();
    if (!(mode & 0x80))
        r.tuning.unsync_born = 0; /* so that writes to tables are emulated */
    make_tables();
    change_tables(&in, mode >> 4 & 3, mode % 16 % MODES);
    if (!(mode & 8)) { /* the processor has fetched from there: short ways need that */
        r.exit.seq++;
        r.exit.kind = EXIT_PAGE;
        r.exit.info[0] = CODE;
        r.exit.info[1] = 0x10;
        do_exit();
    }
    for (unsigned i = 0; i < STEPS_MAX && fuzz_left(&in); i++) {
        take_exit(&in);
        if (do_exit() != VMM_RUNS)
            break;
    }
    return 0;
}
