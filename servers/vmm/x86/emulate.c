/* SPDX-License-Identifier: BSD-2-Clause */
/* One step: fetch, decode, look the handler up, retire. RIP, RF and the interrupt shadow change here only. */
#include <servers/vmm/x86/internal.h>

/* An operation without a handler is X86_UNKNOWN. */
static x86_handler handler_of(enum x86_op op)
{
    static const x86_handler handlers[X86_OPS] = {
        [X86_ADD] = emu_do_binary,
        [X86_OR] = emu_do_binary,
        [X86_ADC] = emu_do_binary,
        [X86_SBB] = emu_do_binary,
        [X86_AND] = emu_do_binary,
        [X86_SUB] = emu_do_binary,
        [X86_XOR] = emu_do_binary,
        [X86_CMP] = emu_do_compare,
        [X86_TEST] = emu_do_test,
        [X86_ROL... X86_SAR] = emu_do_shift,
        [X86_NOT] = emu_do_unary,
        [X86_NEG] = emu_do_unary,
        [X86_INC] = emu_do_unary,
        [X86_DEC] = emu_do_unary,
        [X86_MUL] = emu_do_mul,
        [X86_IMUL] = emu_do_mul,
        [X86_IMUL2] = emu_do_imul2,
        [X86_DIV] = emu_do_div,
        [X86_IDIV] = emu_do_div,
        [X86_MOV] = emu_do_mov,
        [X86_MOVZX] = emu_do_mov,
        [X86_MOVSX] = emu_do_movsx,
        [X86_XCHG] = emu_do_xchg,
        [X86_XADD] = emu_do_xadd,
        [X86_CMPXCHG] = emu_do_cmpxchg,
        [X86_CMPXCHG8B] = emu_do_cmpxchg8b,
        [X86_BT... X86_BTC] = emu_do_bit,
        [X86_BSF... X86_POPCNT] = emu_do_bit_scan,
        [X86_BSWAP] = emu_do_bswap,
        [X86_SETCC] = emu_do_setcc,
        [X86_CMOVCC] = emu_do_cmovcc,
        [X86_LEA] = emu_do_lea,
        [X86_SHLD] = emu_do_double_shift,
        [X86_SHRD] = emu_do_double_shift,
        [X86_CBW] = emu_do_convert,
        [X86_CWD] = emu_do_convert,
        [X86_DAA... X86_SALC] = emu_do_decimal,
        [X86_XLAT] = emu_do_xlat,
        [X86_SAHF] = emu_do_flag,
        [X86_LAHF] = emu_do_flag,
        [X86_CMC] = emu_do_flag,
        [X86_CLC] = emu_do_flag,
        [X86_STC] = emu_do_flag,
        [X86_CLD] = emu_do_flag,
        [X86_STD] = emu_do_flag,
        [X86_CLI] = emu_do_interrupt_flag,
        [X86_STI] = emu_do_interrupt_flag,
        [X86_MOVS... X86_OUTS] = emu_do_string,
        [X86_IN] = emu_do_in,
        [X86_OUT] = emu_do_out,
        [X86_PUSH] = emu_do_push,
        [X86_POP] = emu_do_pop,
        [X86_PUSHA] = emu_do_pusha,
        [X86_POPA] = emu_do_popa,
        [X86_PUSHF] = emu_do_pushf,
        [X86_POPF] = emu_do_popf,
        [X86_ENTER] = emu_do_enter,
        [X86_LEAVE] = emu_do_leave,
        [X86_CALL] = emu_do_call,
        [X86_CALL_INDIRECT] = emu_do_call,
        [X86_RET] = emu_do_ret,
        [X86_JMP] = emu_do_jmp,
        [X86_JMP_INDIRECT] = emu_do_jmp,
        [X86_JCC] = emu_do_jcc,
        [X86_LOOP] = emu_do_loop,
        [X86_JCXZ] = emu_do_loop,
        [X86_CALL_FAR] = emu_do_jmp_far,
        [X86_JMP_FAR] = emu_do_jmp_far,
        [X86_RET_FAR] = emu_do_ret_far,
        [X86_IRET] = emu_do_iret,
        [X86_INT] = emu_do_int,
        [X86_INT3] = emu_do_int,
        [X86_INTO] = emu_do_int,
        [X86_MOV_SEG] = emu_do_mov_seg,
        [X86_PUSH_SEG] = emu_do_push_seg,
        [X86_POP_SEG] = emu_do_pop_seg,
        [X86_LOAD_FAR] = emu_do_load_far,
        [X86_SGDT] = emu_do_store_table,
        [X86_SIDT] = emu_do_store_table,
        [X86_LGDT] = emu_do_load_table,
        [X86_LIDT] = emu_do_load_table,
        [X86_SLDT] = emu_do_store_selector,
        [X86_STR] = emu_do_store_selector,
        [X86_SMSW] = emu_do_smsw,
        [X86_LMSW] = emu_do_lmsw,
        [X86_CLTS] = emu_do_clts,
        [X86_MOV_CR] = emu_do_mov_cr,
        [X86_MOV_DR] = emu_do_mov_dr,
        [X86_RDMSR] = emu_do_msr,
        [X86_WRMSR] = emu_do_msr,
        [X86_INVLPG] = emu_do_invlpg,
        [X86_CLAC] = emu_do_access_flag,
        [X86_STAC] = emu_do_access_flag,
        [X86_CLFLUSH] = emu_do_clflush,
        [X86_NOP] = emu_do_nop,
        [X86_UD] = emu_do_undefined,
        [X86_SPECIAL_FIRST... X86_RSM] = emu_do_special,
        [X86_SSE_LOAD] = emu_do_sse,
        [X86_SSE_STORE] = emu_do_sse,
    };
    return handlers[op];
}

static uint64_t rip_behind(const struct x86_cpu *cpu, unsigned length)
{
    uint64_t rip = cpu->rip + length;
    return x86_mode(cpu) == X86_64 ? rip : rip & 0xffffffff;
}

bool x86_retire(struct x86_cpu *cpu, unsigned length)
{
    cpu->rip = rip_behind(cpu, length);
    cpu->rflags &= ~X86_FLAG_RF;
    cpu->shadow = 0;
    return cpu->rflags & X86_FLAG_TF;
}

/* Gets up to size more code bytes at CS:offset, not beyond the page; *got = how many. */
static enum x86_result fetch_piece(struct emu *e, uint64_t offset, uint8_t *bytes, unsigned size,
                                   unsigned *got)
{
    const struct umbra_segment *cs = &e->cpu->seg[SEG_CS];
    struct x86_fault fault = { 0 };
    uint64_t linear = offset, room = ~0ull;
    unsigned access = X86_ACCESS_FETCH | (e->cpu->cpl == 3 ? X86_ACCESS_USER : 0u);
    if (x86_mode(e->cpu) == X86_64) {
        if (!x86_canonical(linear))
            return emu_raise(e, X86_VECTOR_GP);
    } else {
        if (offset > cs->limit)
            return emu_raise(e, X86_VECTOR_GP);
        room = cs->limit - offset + 1;
        linear = (cs->base + offset) & 0xffffffff;
    }
    if (room > PAGE_BYTES - linear % PAGE_BYTES)
        room = PAGE_BYTES - linear % PAGE_BYTES;
    *got = size < room ? size : (unsigned)room;
    return emu_bus_outcome(e, e->bus->fetch(e->ctx, linear, bytes, *got, access, &fault), &fault);
}

/* The second piece is fetched only if the instruction goes on there, so that the next page may be absent. A
 * code segment can end in the second piece, too: three pieces are the most. */
static enum x86_result fetch_and_decode(struct emu *e)
{
    struct x86_outcome *out = e->out;
    enum x86_decoded d = X86_NEED_MORE;
    for (unsigned piece = 0; piece < 3 && d == X86_NEED_MORE; piece++) {
        unsigned got = 0;
        enum x86_result r = fetch_piece(e, e->cpu->rip + out->nbytes, out->bytes + out->nbytes,
                                        X86_INSN_MAX - out->nbytes, &got);
        if (r != X86_DONE)
            return r;
        out->nbytes = (uint8_t)(out->nbytes + got);
        d = x86_decode(out->bytes, out->nbytes, x86_mode(e->cpu), &out->insn);
    }
    switch (d) {
    case X86_DECODED:
        return X86_DONE;
    case X86_UNSUPPORTED:
        return X86_UNKNOWN;
    case X86_INVALID:
        return emu_raise(e, X86_VECTOR_UD);
    default:
        return emu_raise(e, X86_VECTOR_GP);
    }
}

static void retire(struct emu *e, bool trap)
{
    struct x86_cpu *cpu = e->cpu;
    e->out->step_trap = trap && !e->loads_ss;
    cpu->shadow = e->shadow;
    if (e->unfinished)
        return;
    cpu->rip = e->next_rip;
    cpu->rflags &= ~X86_FLAG_RF;
}

enum x86_result x86_step(struct x86_cpu *cpu, const struct x86_bus *bus, void *ctx, struct x86_outcome *out)
{
    struct emu e = { .cpu = cpu, .bus = bus, .ctx = ctx, .out = out, .insn = &out->insn };
    bool trap = cpu->rflags & X86_FLAG_TF;
    *out = (struct x86_outcome){ 0 };
    enum x86_result r = fetch_and_decode(&e);
    if (r != X86_DONE)
        return r;
    x86_handler handler = handler_of((enum x86_op)out->insn.op);
    if (!handler)
        return X86_UNKNOWN;
    e.next_rip = rip_behind(cpu, out->insn.length);
    r = handler(&e);
    if (r == X86_DONE)
        retire(&e, trap);
    return r;
}
