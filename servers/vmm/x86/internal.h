/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of the emulator share; nobody else includes it.
 *
 * A handler executes one instruction. It reads and checks everything first, then writes memory, then
 * registers, which cannot fail: whatever it returns but X86_DONE, nothing changed. RIP is set by emulate.c
 * alone. */
#ifndef VMM_X86_INTERNAL_H
#define VMM_X86_INTERNAL_H

#include <servers/vmm/x86/emulate.h>

struct emu {
    struct x86_cpu *cpu;
    const struct x86_bus *bus;
    void *ctx;
    struct x86_outcome *out;
    const struct x86_insn *insn;
    uint64_t next_rip; /* where execution goes on if the handler is done */
    uint64_t bias;     /* bytes from insn.mem to what a bit offset selects (BT ..) */
    uint64_t rsp_bias; /* POP to memory addresses with the RSP behind the pop */
    bool shadow;       /* the instruction leaves an interrupt shadow */
    bool loads_ss;     /* .. one that holds back the single-step trap, too */
    bool unfinished;   /* REP: more iterations to come */
};

typedef enum x86_result (*x86_handler)(struct emu *e);

/* A result and the RFLAGS that go with it. */
struct alu {
    uint64_t value, flags;
};
/* size of a and b in bytes; flags: RFLAGS before. */
typedef struct alu (*alu_fn)(unsigned size, uint64_t a, uint64_t b, uint64_t flags);

static inline uint64_t low_mask(unsigned size)
{
    return size >= 8 ? ~0ull : (1ull << 8 * size) - 1;
}
static inline uint64_t sign_bit(unsigned size)
{
    return 1ull << (8 * size - 1);
}
static inline uint64_t sign_extend(uint64_t value, unsigned size)
{
    unsigned unused = 64 - 8 * size;
    return (uint64_t)((int64_t)(value << unused) >> unused);
}

/* alu.c: pure arithmetic with flags (APM vol. 3, chapter 3) */
struct alu alu_add(unsigned size, uint64_t a, uint64_t b, uint64_t flags);
struct alu alu_adc(unsigned size, uint64_t a, uint64_t b, uint64_t flags);
struct alu alu_sub(unsigned size, uint64_t a, uint64_t b, uint64_t flags);
struct alu alu_sbb(unsigned size, uint64_t a, uint64_t b, uint64_t flags);
struct alu alu_and(unsigned size, uint64_t a, uint64_t b, uint64_t flags);
struct alu alu_or(unsigned size, uint64_t a, uint64_t b, uint64_t flags);
struct alu alu_xor(unsigned size, uint64_t a, uint64_t b, uint64_t flags);
struct alu alu_inc(unsigned size, uint64_t a, uint64_t b, uint64_t flags);
struct alu alu_dec(unsigned size, uint64_t a, uint64_t b, uint64_t flags);
struct alu alu_neg(unsigned size, uint64_t a, uint64_t b, uint64_t flags);
struct alu alu_not(unsigned size, uint64_t a, uint64_t b, uint64_t flags);
struct alu alu_exchange(unsigned size, uint64_t a, uint64_t b, uint64_t flags);
struct alu alu_bt(unsigned size, uint64_t a, uint64_t b, uint64_t flags);
struct alu alu_bts(unsigned size, uint64_t a, uint64_t b, uint64_t flags);
struct alu alu_btr(unsigned size, uint64_t a, uint64_t b, uint64_t flags);
struct alu alu_btc(unsigned size, uint64_t a, uint64_t b, uint64_t flags);
uint64_t alu_szp(unsigned size, uint64_t value); /* SF, ZF, PF */
bool alu_condition(unsigned cond, uint64_t flags);

/* shift.c: pure; b is the count as the instruction gives it */
struct alu alu_rol(unsigned size, uint64_t a, uint64_t b, uint64_t flags);
struct alu alu_ror(unsigned size, uint64_t a, uint64_t b, uint64_t flags);
struct alu alu_rcl(unsigned size, uint64_t a, uint64_t b, uint64_t flags);
struct alu alu_rcr(unsigned size, uint64_t a, uint64_t b, uint64_t flags);
struct alu alu_shl(unsigned size, uint64_t a, uint64_t b, uint64_t flags);
struct alu alu_shr(unsigned size, uint64_t a, uint64_t b, uint64_t flags);
struct alu alu_sar(unsigned size, uint64_t a, uint64_t b, uint64_t flags);
struct alu alu_shld(unsigned size, uint64_t a, uint64_t fill, unsigned count, uint64_t flags);
struct alu alu_shrd(unsigned size, uint64_t a, uint64_t fill, unsigned count, uint64_t flags);

/* memory.c: segmentation and the bus. access is X86_ACCESS_WRITE or 0; USER is added where CPL is 3. */
uint64_t emu_offset(const struct emu *e); /* of insn.mem */
enum x86_result emu_linear(struct emu *e, unsigned segment, uint64_t offset, unsigned size, unsigned access,
                           uint64_t *linear);
enum x86_result emu_mem_operand(struct emu *e, unsigned size, unsigned access,
                                uint64_t *linear); /* insn.mem */
enum x86_result emu_read(struct emu *e, uint64_t linear, unsigned size, void *data, unsigned access);
enum x86_result emu_write(struct emu *e, uint64_t linear, unsigned size, const void *data);
enum x86_result emu_probe(struct emu *e, uint64_t linear, unsigned size, unsigned access);
enum x86_result emu_cmpxchg(struct emu *e, uint64_t linear, unsigned size, void *expected,
                            const void *desired, bool *stored);
enum x86_result emu_read_value(struct emu *e, unsigned segment, uint64_t offset, unsigned size,
                               uint64_t *value);
enum x86_result emu_bus_outcome(struct emu *e, enum x86_bus_result result, const struct x86_fault *fault);
enum x86_result emu_raise(struct emu *e, enum x86_vector vector);
enum x86_result emu_raise_code(struct emu *e, enum x86_vector vector, uint32_t code);

/* operand.c */
uint64_t x86_gpr_get(const struct x86_cpu *cpu, unsigned reg, unsigned size);
void x86_gpr_set(struct x86_cpu *cpu, unsigned reg, unsigned size, uint64_t value);
enum x86_result emu_operand_read(struct emu *e, unsigned which, uint64_t *value);
enum x86_result emu_operand_write(struct emu *e, unsigned which,
                                  uint64_t value); /* the last thing that can fail */
void x86_set_status(struct x86_cpu *cpu, uint64_t flags);
/* Operand 0 becomes fn(operand 0, b) and the flags follow; with LOCK, or always if atomic, in one piece.
 * *old (if not NULL) = what it was. */
enum x86_result emu_operand_modify(struct emu *e, alu_fn fn, uint64_t b, bool atomic, uint64_t *old);

/* stack.c */
unsigned emu_stack_size(const struct emu *e); /* of a stack pointer: 2, 4, 8 bytes */
void emu_set_rsp(struct emu *e, uint64_t rsp);
enum x86_result emu_push(struct emu *e, const uint64_t *values, unsigned count, unsigned size);
/* Reads, and leaves RSP alone: *rsp = where it has to go. */
enum x86_result emu_pop(struct emu *e, uint64_t *values, unsigned count, unsigned size, uint64_t *rsp);
#define PUSH_MAX 8 /* PUSHA */

/* branch.c */
enum x86_result emu_check_target(struct emu *e, uint64_t target);

/* flags.c */
uint64_t emu_merge_flags(const struct x86_cpu *cpu, uint64_t value, unsigned size); /* as POPF */

/* segment.c */
/* Checks and loads a data segment register; the last step that can fail, it may set the accessed bit. */
enum x86_result emu_load_segment(struct emu *e, unsigned segment, uint16_t selector);
/* Checks a code segment and the target in it, and loads CS; *returning: as RET, else as JMP and CALL. What is
 * pushed is pushed in between: first emu_check_code, then emu_load_code. X86_UNKNOWN for gates, task
 * switches, other levels. */
enum x86_result emu_check_code(struct emu *e, uint16_t selector, uint64_t offset, bool returning,
                               struct umbra_segment *cs);
enum x86_result emu_load_code(struct emu *e, const struct umbra_segment *cs);

/* port.c */
enum x86_result emu_port_allowed(struct emu *e, uint16_t port, unsigned size);

#define X86_HANDLER(name) enum x86_result name(struct emu *e)
X86_HANDLER(emu_do_binary);
X86_HANDLER(emu_do_compare);
X86_HANDLER(emu_do_test);
X86_HANDLER(emu_do_unary);
X86_HANDLER(emu_do_xadd);
X86_HANDLER(emu_do_cmpxchg);
X86_HANDLER(emu_do_cmpxchg8b);
X86_HANDLER(emu_do_shift);
X86_HANDLER(emu_do_double_shift);
X86_HANDLER(emu_do_bit);
X86_HANDLER(emu_do_bit_scan);
X86_HANDLER(emu_do_mul);
X86_HANDLER(emu_do_imul2);
X86_HANDLER(emu_do_div);
X86_HANDLER(emu_do_mov);
X86_HANDLER(emu_do_movsx);
X86_HANDLER(emu_do_xchg);
X86_HANDLER(emu_do_lea);
X86_HANDLER(emu_do_bswap);
X86_HANDLER(emu_do_setcc);
X86_HANDLER(emu_do_cmovcc);
X86_HANDLER(emu_do_convert);
X86_HANDLER(emu_do_decimal);
X86_HANDLER(emu_do_xlat);
X86_HANDLER(emu_do_nop);
X86_HANDLER(emu_do_clflush);
X86_HANDLER(emu_do_sse);
X86_HANDLER(emu_do_flag);
X86_HANDLER(emu_do_interrupt_flag);
X86_HANDLER(emu_do_pushf);
X86_HANDLER(emu_do_popf);
X86_HANDLER(emu_do_string);
X86_HANDLER(emu_do_in);
X86_HANDLER(emu_do_out);
X86_HANDLER(emu_do_push);
X86_HANDLER(emu_do_pop);
X86_HANDLER(emu_do_pusha);
X86_HANDLER(emu_do_popa);
X86_HANDLER(emu_do_enter);
X86_HANDLER(emu_do_leave);
X86_HANDLER(emu_do_call);
X86_HANDLER(emu_do_ret);
X86_HANDLER(emu_do_jmp);
X86_HANDLER(emu_do_jcc);
X86_HANDLER(emu_do_loop);
X86_HANDLER(emu_do_jmp_far);
X86_HANDLER(emu_do_ret_far);
X86_HANDLER(emu_do_iret);
X86_HANDLER(emu_do_int);
X86_HANDLER(emu_do_mov_seg);
X86_HANDLER(emu_do_push_seg);
X86_HANDLER(emu_do_pop_seg);
X86_HANDLER(emu_do_load_far);
X86_HANDLER(emu_do_store_table);
X86_HANDLER(emu_do_load_table);
X86_HANDLER(emu_do_store_selector);
X86_HANDLER(emu_do_smsw);
X86_HANDLER(emu_do_lmsw);
X86_HANDLER(emu_do_clts);
X86_HANDLER(emu_do_mov_cr);
X86_HANDLER(emu_do_mov_dr);
X86_HANDLER(emu_do_msr);
X86_HANDLER(emu_do_invlpg);
X86_HANDLER(emu_do_access_flag);
X86_HANDLER(emu_do_undefined);
X86_HANDLER(emu_do_special);

#endif
