/* SPDX-License-Identifier: BSD-2-Clause */
/* Instruction decoder: bytes in, one struct x86_insn out (APM vol. 3, chapter 1 and appendix A).
 *
 * Pure, table driven, never reads behind the bytes it is given. Lengths are right for every encoding that it
 * does not refuse; instructions that the emulator does not know come out as X86_OTHER. What an instruction
 * does belongs in emulate.h. Held by tests/host/x86/test_decode.c, test_length.py and test_fuzz.c. */
#ifndef VMM_X86_DECODE_H
#define VMM_X86_DECODE_H

#include <servers/vmm/x86/cpu.h>

#define X86_INSN_MAX 15 /* bytes; APM vol. 3, 1.1 */

/* What an instruction is, in the order of the encodings where arithmetic depends on it: ADD..CMP, ROL..SAR.
 * OTHER: known length, meaning not known here. The last block, CPUID on, is X86_SPECIAL: left to the caller.
 */
/* clang-format off */
#define X86_OP_LIST(X) \
    X(OTHER) X(ADD) X(OR) X(ADC) X(SBB) X(AND) X(SUB) X(XOR) X(CMP) \
    X(ROL) X(ROR) X(RCL) X(RCR) X(SHL) X(SHR) X(SAL) X(SAR) \
    X(TEST) X(NOT) X(NEG) X(MUL) X(IMUL) X(IMUL2) X(DIV) X(IDIV) X(INC) X(DEC) \
    X(MOV) X(MOVZX) X(MOVSX) X(XCHG) X(XADD) X(CMPXCHG) X(CMPXCHG8B) \
    X(BT) X(BTS) X(BTR) X(BTC) X(BSF) X(BSR) X(TZCNT) X(LZCNT) X(POPCNT) \
    X(BSWAP) X(SETCC) X(CMOVCC) X(LEA) X(SHLD) X(SHRD) X(CBW) X(CWD) \
    X(DAA) X(DAS) X(AAA) X(AAS) X(AAM) X(AAD) X(SALC) \
    X(SAHF) X(LAHF) X(XLAT) X(CMC) X(CLC) X(STC) X(CLI) X(STI) X(CLD) X(STD) \
    X(MOVS) X(STOS) X(LODS) X(CMPS) X(SCAS) X(INS) X(OUTS) X(IN) X(OUT) \
    X(PUSH) X(POP) X(PUSHA) X(POPA) X(PUSHF) X(POPF) X(ENTER) X(LEAVE) \
    X(CALL) X(RET) X(JMP) X(JCC) X(LOOP) X(JCXZ) X(CALL_INDIRECT) X(JMP_INDIRECT) \
    X(CALL_FAR) X(JMP_FAR) X(RET_FAR) X(IRET) X(INT) X(INT3) X(INTO) X(ICEBP) \
    X(MOV_SEG) X(PUSH_SEG) X(POP_SEG) X(LOAD_FAR) \
    X(SGDT) X(SIDT) X(LGDT) X(LIDT) X(SLDT) X(STR) X(LLDT) X(LTR) X(SMSW) X(LMSW) \
    X(CLTS) X(MOV_CR) X(MOV_DR) X(RDMSR) X(WRMSR) X(INVLPG) X(CLAC) X(STAC) X(CLFLUSH) X(NOP) X(UD) \
    X(CPUID) X(HLT) X(RDTSC) X(RDTSCP) X(RDPMC) X(INVD) X(WBINVD) X(PAUSE) X(MONITOR) X(MWAIT) \
    X(XGETBV) X(XSETBV) X(SVM) X(INVLPGA) X(SWAPGS) X(SYSCALL) X(SYSRET) X(SYSENTER) X(SYSEXIT) X(RSM) \
    X(SSE_LOAD) X(SSE_STORE)
/* clang-format on */
#define X86_OP_ENUM(name) X86_##name,
enum x86_op { X86_OP_LIST(X86_OP_ENUM) X86_OPS };
#define X86_SPECIAL_FIRST X86_CPUID
#define X86_SPECIAL_LAST  X86_SSE_STORE

enum x86_operand_kind {
    X86_NONE,
    X86_REG,      /* gpr[reg], low size bytes */
    X86_REG_HIGH, /* AH CH DH BH: bits 8..15 of gpr[reg] */
    X86_MEM,      /* insn.mem */
    X86_IMM,      /* insn.imm, sign-extended as the encoding says */
    X86_SEGREG,   /* reg is enum segment */
    X86_CR,
    X86_DR,
    X86_XMM
};

struct x86_operand {
    uint8_t kind; /* enum x86_operand_kind */
    uint8_t size; /* bytes; 0: the instruction decides */
    uint8_t reg;
};

struct x86_mem {
    uint8_t segment; /* enum segment, override applied */
    uint8_t scale;   /* the index is shifted left by this, 0..3 */
    int8_t base;     /* enum gpr, -1 none */
    int8_t index;    /* enum gpr, -1 none */
    bool rip_relative;
    int64_t disp;
};

enum x86_rep { X86_REP_NONE, X86_REPNE = 0xf2, X86_REPE = 0xf3 };

struct x86_insn {
    uint8_t op;     /* enum x86_op */
    uint8_t length; /* bytes, 1..15 */
    uint8_t mode;   /* enum x86_mode it was decoded for */
    uint8_t map;    /* 0 one-byte, 1 0F, 2 0F38, 3 0F3A; VEX and EVEX have the same */
    uint8_t opcode, modrm;
    uint8_t opsize, addrsize; /* 2, 4 or 8 bytes */
    uint8_t rex;              /* the prefix, 0 none */
    uint8_t rep;              /* enum x86_rep: the last of F2, F3 */
    bool lock;
    bool opsize_prefix;            /* 66 */
    uint8_t segment;               /* enum segment of implicit memory operands: DS or the override */
    uint8_t cond;                  /* condition code of Jcc, SETcc, CMOVcc */
    uint8_t operands;              /* how many of operand[] */
    struct x86_operand operand[3]; /* destination first, as the manual writes it */
    struct x86_mem mem;
    uint64_t imm;  /* also branch displacement, far offset */
    uint16_t imm2; /* ENTER's level, far selector */
};

enum x86_decoded {
    X86_DECODED,
    X86_NEED_MORE,  /* insn.length = least number of bytes to try with */
    X86_INVALID,    /* #UD whatever follows */
    X86_TOO_LONG,   /* #GP(0): more than 15 bytes */
    X86_UNSUPPORTED /* length not known: an extension that no guest of this VMM is offered */
};

/* x86_decode - decode the instruction at the start of bytes[0..avail).
 * Returns X86_DECODED with *insn complete; else only insn->length (X86_NEED_MORE) is meaningful. */
enum x86_decoded x86_decode(const uint8_t *bytes, unsigned avail, enum x86_mode mode, struct x86_insn *insn);

/* x86_length - length in bytes of the instruction; 0 if x86_decode does not give X86_DECODED. */
unsigned x86_length(const uint8_t *bytes, unsigned avail, enum x86_mode mode);

/* MOV to and from control registers, for the exit path: a short look without tables (APM vol. 3, MOV CRn). */
struct x86_cr_mov {
    uint8_t cr;     /* 0, 2, 3, 4, 8 */
    uint8_t gpr;    /* enum gpr */
    uint8_t length; /* bytes */
    bool write;     /* to the control register */
};

/* x86_decode_cr_mov - false if the bytes are not a complete MOV CR (or need the full decoder). */
bool x86_decode_cr_mov(const uint8_t *bytes, unsigned avail, enum x86_mode mode, struct x86_cr_mov *mov);

/* x86_op_name - for dumps. */
const char *x86_op_name(enum x86_op op);

#endif
