/* SPDX-License-Identifier: BSD-2-Clause */
/* The emulator against the host processor: random instructions, registers, flags and memory operands,
 * executed both ways; registers, RIP, defined flags, memory and faults must agree. X86_SEED and X86_COUNT
 * change the run. USES below adds sources. */
// USES: servers/vmm/x86/*.c tests/host/x86/machine.c tests/host/x86/native.c
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "machine.h"
#include "native.h"

#define ALL X86_FLAG_STATUS
#define CF  X86_FLAG_CF
#define PF  X86_FLAG_PF
#define AF  X86_FLAG_AF
#define ZF  X86_FLAG_ZF
#define SF  X86_FLAG_SF
#define OF  X86_FLAG_OF

struct random {
    uint64_t state;
};

static uint64_t next(struct random *r)
{
    r->state += 0x9e3779b97f4a7c15ull; /* splitmix64 */
    uint64_t z = r->state;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

static uint64_t below(struct random *r, uint64_t n)
{
    return next(r) % n;
}

/* Values near the places where carries and signs change. */
static uint64_t interesting(struct random *r)
{
    static const unsigned bits[] = { 0, 7, 8, 15, 16, 31, 32, 63 };
    switch (below(r, 4)) {
    case 0:
        return next(r);
    case 1:
        return next(r) >> below(r, 64);
    case 2:
        return (1ull << bits[below(r, 8)]) + below(r, 3) - 1;
    default:
        return -(next(r) >> below(r, 64));
    }
}

/* What to draw: opcodes of the one-byte (map 0) and 0F map (map 1), first..last. */
static const struct {
    uint8_t map, first, last;
} opcodes[] = {
    { 0, 0x00, 0x05 }, { 0, 0x08, 0x0d }, { 0, 0x10, 0x15 }, { 0, 0x18, 0x1d }, { 0, 0x20, 0x25 },
    { 0, 0x28, 0x2d }, { 0, 0x30, 0x35 }, { 0, 0x38, 0x3d }, { 0, 0x40, 0x61 }, { 0, 0x63, 0x63 },
    { 0, 0x27, 0x27 }, { 0, 0x2f, 0x2f }, { 0, 0x37, 0x37 }, { 0, 0x3f, 0x3f }, { 0, 0xd4, 0xd6 },
    { 0, 0x68, 0x6b }, { 0, 0x70, 0x7f }, { 0, 0x80, 0x8b }, { 0, 0x80, 0x8b }, { 0, 0x8d, 0x8d },
    { 0, 0x8f, 0x99 }, { 0, 0x9c, 0x9f }, { 0, 0xa0, 0xaf }, { 0, 0xa4, 0xa7 }, { 0, 0xaa, 0xaf },
    { 0, 0xb0, 0xbf }, { 0, 0xc0, 0xc3 }, { 0, 0xc6, 0xc9 }, { 0, 0xd0, 0xd3 }, { 0, 0xd0, 0xd3 },
    { 0, 0xd7, 0xd7 }, { 0, 0xe0, 0xe3 }, { 0, 0xe8, 0xe9 }, { 0, 0xeb, 0xeb }, { 0, 0xf5, 0xf9 },
    { 0, 0xf6, 0xf7 }, { 0, 0xf6, 0xf7 }, { 0, 0xf6, 0xf7 }, { 0, 0xfc, 0xff }, { 0, 0xfe, 0xff },
    { 1, 0x18, 0x1f }, { 1, 0x40, 0x4f }, { 1, 0x80, 0x9f }, { 1, 0xa3, 0xa5 }, { 1, 0xab, 0xad },
    { 1, 0xae, 0xb1 }, { 1, 0xb3, 0xb3 }, { 1, 0xb6, 0xb8 }, { 1, 0xba, 0xbf }, { 1, 0xa3, 0xa5 },
    { 1, 0xc0, 0xc1 }, { 1, 0xc3, 0xc3 }, { 1, 0xc7, 0xcf }, { 1, 0xb0, 0xb1 }, { 1, 0xba, 0xbd },
};

struct trial {
    uint8_t code[40];
    unsigned length;
    unsigned modrm_at; /* of the byte behind the opcode */
    struct x86_insn insn;
    struct native_state before, native;
    enum x86_mode mode;
    uint64_t target; /* of the memory operand, 0 none */
};

static struct machine machine;
static uint8_t *const data = (uint8_t *)NATIVE_DATA;

static bool is_string(const struct x86_insn *in)
{
    return in->op >= X86_MOVS && in->op <= X86_SCAS;
}

static void draw_code(struct random *r, struct trial *t)
{
    unsigned n = 0, row = (unsigned)below(r, sizeof(opcodes) / sizeof(opcodes[0]));
    static const uint8_t prefixes[] = { 0x66, 0x66, 0x66, 0x67, 0xf2, 0xf3, 0x2e, 0x3e };
    if (below(r, 2))
        t->code[n++] = prefixes[below(r, 8)];
    if (below(r, 8) == 0)
        t->code[n++] = below(r, 2) ? 0xf0 : prefixes[below(r, 8)];
    if (t->mode == X86_64 && below(r, 2))
        t->code[n++] = (uint8_t)(0x40 | below(r, 16));
    if (opcodes[row].map)
        t->code[n++] = 0x0f;
    t->code[n++] = (uint8_t)(opcodes[row].first + below(r, opcodes[row].last - opcodes[row].first + 1u));
    t->modrm_at = n;
    while (n < sizeof(t->code))
        t->code[n++] = (uint8_t)interesting(r);
}

static bool decode(struct trial *t)
{
    bool good = x86_decode(t->code, X86_INSN_MAX, t->mode, &t->insn) == X86_DECODED;
    t->length = t->insn.length;
    return good;
}

static void patch(struct trial *t, unsigned at, unsigned size, uint64_t value)
{
    memcpy(&t->code[at], &value, size);
}

/* In native and emulated memory. */
static void put_memory(uint64_t linear, uint64_t value)
{
    memcpy((void *)linear, &value, 8);
    machine_put(&machine, linear, 8, value);
}

static bool has_memory(const struct x86_insn *in)
{
    for (unsigned i = 0; i < in->operands; i++)
        if (in->operand[i].kind == X86_MEM)
            return true;
    return false;
}

static uint64_t draw_target(struct random *r)
{
    uint64_t target = NATIVE_DATA + 0x400 + below(r, 0x800);
    return below(r, 2) ? target & ~15ull : target;
}

/* Lets the bytes of the instruction themselves say the address. */
static bool aim_displacement(struct random *r, struct trial *t)
{
    const struct x86_mem *m = &t->insn.mem;
    if (t->insn.map == 0 && t->insn.opcode >= 0xa0 && t->insn.opcode <= 0xa3) {
        patch(t, t->modrm_at, t->insn.addrsize, t->target);
    } else if (m->rip_relative) {
        patch(t, t->modrm_at + 1, 4, t->target - (NATIVE_CODE + t->length));
    } else if ((t->code[t->modrm_at] & 7) == RBP) { /* 32-bit code: an address */
        patch(t, t->modrm_at + 1, 4, t->target);
    } else {
        uint64_t index = below(r, 32);
        if (m->index >= 0)
            t->before.gpr[m->index] = index;
        patch(t, t->modrm_at + 2, 4, t->target - (m->index >= 0 ? index << m->scale : 0));
    }
    return decode(t);
}

/* Chooses registers, or patches the bytes, so that the memory operand is at t->target. */
static bool aim(struct random *r, struct trial *t)
{
    struct x86_mem *m = &t->insn.mem;
    if (!has_memory(&t->insn) || t->insn.op == X86_LEA)
        return true;
    t->target = draw_target(r);
    if (m->segment >= SEG_FS || (m->base >= 0 && m->base == m->index))
        return false;
    if (m->base == RSP) { /* RSP stands already: only without index and with a short displacement */
        t->target = t->before.gpr[RSP] + (uint64_t)m->disp;
        return m->index < 0 && t->code[t->modrm_at] >> 6 < 2;
    }
    if (m->base < 0)
        return aim_displacement(r, t);
    uint64_t index = m->index >= 0 ? t->before.gpr[m->index] << m->scale : 0;
    t->before.gpr[m->base] = t->target - index - (uint64_t)m->disp;
    return true;
}

/* A bit index selects memory: keep it near. Returns false if that register also says where. */
static bool aim_bits(struct random *r, struct trial *t)
{
    const struct x86_operand *o = t->insn.operand;
    if (t->insn.op < X86_BT || t->insn.op > X86_BTC || o[0].kind != X86_MEM || o[1].kind != X86_REG)
        return true;
    t->before.gpr[o[1].reg] = below(r, 4096) - 2048;
    return o[1].reg != t->insn.mem.base;
}

static bool aim_branch(struct trial *t)
{
    unsigned size = t->insn.opsize == 2 ? 2 : 4;
    switch (t->insn.op) {
    case X86_CALL:
    case X86_JMP:
    case X86_JCC:
        if (size == 2 || (t->insn.map == 0 && t->insn.opcode != 0xe8 && t->insn.opcode != 0xe9))
            break;
        patch(t, t->modrm_at, 4, NATIVE_BRANCH - (NATIVE_CODE + t->length));
        return decode(t);
    case X86_RET:
        put_memory(t->before.gpr[RSP], NATIVE_BRANCH);
        return t->insn.opsize == t->mode;
    case X86_CALL_INDIRECT:
    case X86_JMP_INDIRECT:
        if (t->insn.opsize != t->mode)
            return false;
        if (t->insn.operand[0].kind == X86_MEM)
            put_memory(t->target, NATIVE_BRANCH);
        else
            t->before.gpr[t->insn.operand[0].reg] = NATIVE_BRANCH;
        return t->insn.operand[0].kind == X86_MEM || t->insn.operand[0].reg != RSP;
    case X86_LOOP:
    case X86_JCXZ:
        break;
    default:
        return true;
    }
    return false; /* short ones: unit tests */
}

static void aim_strings(struct random *r, struct trial *t)
{
    if (!is_string(&t->insn) && t->insn.op != X86_XLAT)
        return;
    t->before.gpr[RSI] = draw_target(r);
    t->before.gpr[RDI] = below(r, 4) ? draw_target(r) : t->before.gpr[RSI] + below(r, 17) - 8;
    t->before.gpr[RBX] = draw_target(r);
    t->before.gpr[RCX] = below(r, 40);
    if (below(r, 2))
        t->before.rflags |= X86_FLAG_DF;
    t->target = NATIVE_DATA + 0x400;
}

static bool aim_stack(struct random *r, struct trial *t)
{
    switch (t->insn.op) {
    case X86_ENTER:
        patch(t, t->modrm_at, 3, below(r, 64) | below(r, 6) << 16);
        t->before.gpr[RBP] = below(r, 2) ? draw_target(r) : t->before.gpr[RSP] + below(r, 81) - 40;
        return decode(t);
    case X86_LEAVE:
        t->before.gpr[RBP] = draw_target(r);
        return true;
    case X86_POPF:
        put_memory(t->before.gpr[RSP], (next(r) & (ALL | X86_FLAG_DF | X86_FLAG_ID)) | X86_FLAG_IF);
        return true;
    default:
        return true;
    }
}

static bool is_excluded(const struct x86_insn *in)
{
    bool wide_shift = (in->op == X86_SHLD || in->op == X86_SHRD) && in->opsize == 2;
    return in->op == X86_OTHER || in->op >= X86_SPECIAL_FIRST || in->op == X86_CALL_FAR ||
           in->op == X86_JMP_FAR || wide_shift || (in->op == X86_BSWAP && in->opsize == 2) ||
           (in->addrsize == 2 && (has_memory(in) || is_string(in) || in->op == X86_XLAT)) ||
           (in->op == X86_POP && in->mem.base == RSP);
}

/* Returns false if what was drawn cannot be run here; then another is drawn. */
static bool draw(struct random *r, struct trial *t)
{
    memset(t, 0, sizeof(*t));
    t->mode = below(r, 3) ? X86_64 : X86_32;
    draw_code(r, t);
    if (!decode(t) || is_excluded(&t->insn) || t->insn.opcode != t->code[t->modrm_at - 1])
        return false; /* the last: what was drawn as an opcode turned out to be REX */
    for (unsigned i = 0; i < 16; i++)
        t->before.gpr[i] = t->mode == X86_64 ? interesting(r) : (uint32_t)interesting(r);
    t->before.rflags = X86_FLAG_FIXED | X86_FLAG_IF | (next(r) & ALL);
    t->before.gpr[RSP] = NATIVE_DATA + 0x1800 + below(r, 0x80) * 8;
    aim_strings(r, t);
    return aim_bits(r, t) && aim(r, t) && aim_branch(t) && aim_stack(r, t);
}

/* The masked count of a shift, before it ran. */
static unsigned shift_count(const struct trial *t)
{
    const struct x86_insn *in = &t->insn;
    unsigned last = in->operands - 1u;
    uint64_t count = in->operand[last].kind == X86_IMM ? in->imm : t->before.gpr[RCX];
    return (unsigned)(count & (in->operand[0].size == 8 ? 63 : 31));
}

static uint64_t undefined_by_shift(const struct trial *t)
{
    unsigned count = shift_count(t), op = t->insn.op;
    bool rotate = op >= X86_ROL && op <= X86_RCR;
    uint64_t undefined = count > 1 ? OF : 0;
    if (count && !rotate)
        undefined |= AF;
    if (count >= 8u * t->insn.operand[0].size && !rotate && op != X86_SAR)
        undefined |= CF;
    return undefined;
}

/* The status flags that the manual leaves undefined. */
static uint64_t undefined_flags(const struct trial *t)
{
    switch (t->insn.op) {
    case X86_DAA:
    case X86_DAS:
        return OF;
    case X86_AAA:
    case X86_AAS:
        return ALL & ~(AF | CF);
    case X86_AAM:
    case X86_AAD:
        return OF | AF | CF;
    case X86_AND:
    case X86_OR:
    case X86_XOR:
    case X86_TEST:
        return AF;
    case X86_MUL:
    case X86_IMUL:
    case X86_IMUL2:
        return SF | ZF | AF | PF;
    case X86_DIV:
    case X86_IDIV:
        return ALL;
    case X86_BT:
    case X86_BTS:
    case X86_BTR:
    case X86_BTC:
        return OF | SF | AF | PF;
    case X86_BSF:
    case X86_BSR:
        return ALL & ~ZF;
    case X86_TZCNT:
    case X86_LZCNT:
        return ALL & ~(ZF | CF);
    case X86_SHLD:
    case X86_SHRD:
        return undefined_by_shift(t);
    default:
        return t->insn.op >= X86_ROL && t->insn.op <= X86_SAR ? undefined_by_shift(t) : 0;
    }
}

/* Flat user segments. */
static void set_mode(enum x86_mode mode)
{
    for (unsigned i = SEG_ES; i <= SEG_DS; i++)
        machine.cpu.seg[i] = (struct umbra_segment){ .attributes = 0xcf3, .limit = ~0u };
    machine.cpu.seg[SEG_CS].attributes = mode == X86_64 ? 0xafb : 0xcfb;
    machine.cpu.cpl = 3;
}

static enum x86_result emulate(struct trial *t)
{
    struct x86_cpu *cpu = &machine.cpu;
    enum x86_result r;
    memcpy(cpu->gpr, t->before.gpr, sizeof(cpu->gpr));
    cpu->rflags = t->before.rflags;
    cpu->rip = NATIVE_CODE;
    set_mode(t->mode);
    machine.code = t->code;
    machine.code_linear = NATIVE_CODE;
    machine.code_bytes = t->length;
    do
        r = machine_step(&machine);
    while (r == X86_DONE && cpu->rip == NATIVE_CODE && is_string(&t->insn));
    return r;
}

static void describe(const struct trial *t)
{
    char hex[2 * X86_INSN_MAX + 1] = "";
    for (unsigned i = 0; i < t->length; i++)
        sprintf(&hex[2 * i], "%02x", t->code[i]);
    check_note("%u-bit %s %s before rax=%lx rcx=%lx rdx=%lx rbx=%lx rsp=%lx rsi=%lx rdi=%lx flags=%lx",
               8u * t->mode, hex, x86_op_name((enum x86_op)t->insn.op), t->before.gpr[RAX],
               t->before.gpr[RCX], t->before.gpr[RDX], t->before.gpr[RBX], t->before.gpr[RSP],
               t->before.gpr[RSI], t->before.gpr[RDI], t->before.rflags);
}

static uint64_t compared_flags(const struct trial *t)
{
    return t->native.fault ? ~X86_FLAG_RF : (ALL & ~undefined_flags(t)) | X86_FLAG_DF | X86_FLAG_ID;
}

/* Of 32-bit code there is less to compare. */
static bool same_registers(const struct trial *t)
{
    unsigned count = t->mode == X86_64 ? 16 : 8;
    uint64_t mask = t->mode == X86_64 ? ~0ull : 0xffffffff;
    for (unsigned i = 0; i < count; i++)
        if ((machine.cpu.gpr[i] ^ t->native.gpr[i]) & mask)
            return false;
    return true;
}

static bool agrees(const struct trial *t, enum x86_result r)
{
    const struct x86_cpu *cpu = &machine.cpu;
    bool fault = t->native.fault;
    return r == (fault ? X86_FAULT : X86_DONE) && cpu->rip == t->native.rip &&
           (!fault || EVENT_VECTOR(machine.out.event) == t->native.fault - 1) && same_registers(t) &&
           !((cpu->rflags ^ t->native.rflags) & compared_flags(t)) &&
           !memcmp(machine.memory, data, NATIVE_BYTES);
}

/* Says what differs. */
static void compare(const struct trial *t, enum x86_result r)
{
    const struct x86_cpu *cpu = &machine.cpu;
    if (agrees(t, r))
        return;
    describe(t);
    CHECK_EQ(r, t->native.fault ? X86_FAULT : X86_DONE);
    if (t->native.fault)
        CHECK_EQ(EVENT_VECTOR(machine.out.event), t->native.fault - 1);
    CHECK_EQ(cpu->rip, t->native.rip);
    for (unsigned i = 0; i < GPRS && !same_registers(t); i++)
        CHECK_EQ(cpu->gpr[i], t->native.gpr[i]);
    CHECK_EQ(cpu->rflags & compared_flags(t), t->native.rflags & compared_flags(t));
    CHECK_MEM_EQ(machine.memory, data, NATIVE_BYTES);
}

static uint64_t number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 0) : otherwise;
}

TEST(native_random_instructions_agree_with_the_processor)
{
    struct random r = { number("X86_SEED", 1) };
    uint64_t count = number("X86_COUNT", 300000), done[X86_OPS] = { 0 }, faults = 0;
    printf("# seed %lu count %lu\n", r.state, count);
    native_init();
    machine_init(&machine, NATIVE_DATA);
    for (unsigned i = 0; i < NATIVE_BYTES; i++)
        machine.memory[i] = data[i] = (uint8_t)next(&r);
    for (uint64_t i = 0; i < count;) {
        struct trial t;
        if (!draw(&r, &t))
            continue;
        i++;
        t.native = t.before;
        native_run(t.code, t.length, t.mode == X86_64, &t.native);
        compare(&t, emulate(&t));
        done[t.insn.op]++;
        faults += t.native.fault != 0;
    }
    for (unsigned op = 0; op < X86_OPS; op++)
        if (done[op] && getenv("X86_VERBOSE"))
            printf("# %-12s %lu\n", x86_op_name((enum x86_op)op), done[op]);
    printf("# %lu faults\n", faults);
    CHECK(faults > 0);
}
