/* SPDX-License-Identifier: BSD-2-Clause */
/* The one-byte opcode map and the groups (APM vol. 3, tables ). */
#include <servers/vmm/x86/tables.h>

/* clang-format off */
#define ALU(base, op, lock)                                                     \
    [base] = I(op, lock, EB, GB), [base + 1] = I(op, lock, EV, GV),             \
    [base + 2] = I(op, 0, GB, EB), [base + 3] = I(op, 0, GV, EV),               \
    [base + 4] = I(op, 0, AL, IB), [base + 5] = I(op, 0, AXV, IZ)

const struct x86_desc x86_one_byte[256] = {
    ALU(0x00, ADD, LK), ALU(0x08, OR, LK), ALU(0x10, ADC, LK), ALU(0x18, SBB, LK),
    ALU(0x20, AND, LK), ALU(0x28, SUB, LK), ALU(0x30, XOR, LK), ALU(0x38, CMP, 0),
    [0x06] = I(PUSH_SEG, N64, S_ES), [0x07] = I(POP_SEG, N64, S_ES), [0x0e] = I(PUSH_SEG, N64, S_CS),
    [0x16] = I(PUSH_SEG, N64, S_SS), [0x17] = I(POP_SEG, N64, S_SS),
    [0x1e] = I(PUSH_SEG, N64, S_DS), [0x1f] = I(POP_SEG, N64, S_DS),
    [0x27] = I(DAA, N64, 0), [0x2f] = I(DAS, N64, 0), [0x37] = I(AAA, N64, 0), [0x3f] = I(AAS, N64, 0),
    [0x40 ... 0x47] = I(INC, N64, ZV), [0x48 ... 0x4f] = I(DEC, N64, ZV),
    [0x50 ... 0x57] = I(PUSH, D64, ZV), [0x58 ... 0x5f] = I(POP, D64, ZV),
    [0x60] = I(PUSHA, N64, 0), [0x61] = I(POPA, N64, 0),
    [0x62] = OTHER(MR | N64), /* BOUND */
    [0x63] = I(MOVSX, O64, GV, ED), /* else ARPL */
    [0x68] = I(PUSH, D64, IZ), [0x69] = I(IMUL2, 0, GV, EV, IZ),
    [0x6a] = I(PUSH, D64, IBS), [0x6b] = I(IMUL2, 0, GV, EV, IBS),
    [0x6c] = I(INS, 0, AL), [0x6d] = I(INS, 0, AXZ), [0x6e] = I(OUTS, 0, AL), [0x6f] = I(OUTS, 0, AXZ),
    [0x70 ... 0x7f] = I(JCC, D64, JB),
    [0x80] = G(GRP1, 0, EB, IB), [0x81] = G(GRP1, 0, EV, IZ),
    [0x82] = G(GRP1, N64, EB, IB), [0x83] = G(GRP1, 0, EV, IBS),
    [0x84] = I(TEST, 0, EB, GB), [0x85] = I(TEST, 0, EV, GV),
    [0x86] = I(XCHG, LK, EB, GB), [0x87] = I(XCHG, LK, EV, GV),
    [0x88] = I(MOV, 0, EB, GB), [0x89] = I(MOV, 0, EV, GV),
    [0x8a] = I(MOV, 0, GB, EB), [0x8b] = I(MOV, 0, GV, EV),
    [0x8c] = I(MOV_SEG, 0, EWV, SW), [0x8d] = I(LEA, 0, GV, M), [0x8e] = I(MOV_SEG, 0, SW, EW),
    [0x8f] = G(GRP1A, D64, EV),
    [0x90 ... 0x97] = I(XCHG, 0, ZV, AXV),
    [0x98] = I(CBW, 0, AXV), [0x99] = I(CWD, 0, AXV),
    [0x9a] = I(CALL_FAR, N64, AP), [0x9b] = OTHER(PLAIN), /* FWAIT */
    [0x9c] = I(PUSHF, D64, 0), [0x9d] = I(POPF, D64, 0), [0x9e] = I(SAHF, 0, 0), [0x9f] = I(LAHF, 0, 0),
    [0xa0] = I(MOV, 0, AL, OB), [0xa1] = I(MOV, 0, AXV, OV),
    [0xa2] = I(MOV, 0, OB, AL), [0xa3] = I(MOV, 0, OV, AXV),
    [0xa4] = I(MOVS, 0, AL), [0xa5] = I(MOVS, 0, AXV), [0xa6] = I(CMPS, 0, AL), [0xa7] = I(CMPS, 0, AXV),
    [0xa8] = I(TEST, 0, AL, IB), [0xa9] = I(TEST, 0, AXV, IZ),
    [0xaa] = I(STOS, 0, AL), [0xab] = I(STOS, 0, AXV), [0xac] = I(LODS, 0, AL), [0xad] = I(LODS, 0, AXV),
    [0xae] = I(SCAS, 0, AL), [0xaf] = I(SCAS, 0, AXV),
    [0xb0 ... 0xb7] = I(MOV, 0, ZB, IB), [0xb8 ... 0xbf] = I(MOV, 0, ZV, IV),
    [0xc0] = G(GRP2, 0, EB, IB), [0xc1] = G(GRP2, 0, EV, IB),
    [0xc2] = I(RET, D64, IW), [0xc3] = I(RET, D64, 0),
    [0xc4] = I(LOAD_FAR, N64, GV, M), [0xc5] = I(LOAD_FAR, N64, GV, M),
    [0xc6] = G(GRP11, 0, EB, IB), [0xc7] = G(GRP11, 0, EV, IZ),
    [0xc8] = I(ENTER, D64, IW, IB), [0xc9] = I(LEAVE, D64, 0),
    [0xca] = I(RET_FAR, 0, IW), [0xcb] = I(RET_FAR, 0, 0),
    [0xcc] = I(INT3, 0, 0), [0xcd] = I(INT, 0, IB), [0xce] = I(INTO, N64, 0), [0xcf] = I(IRET, 0, 0),
    [0xd0] = G(GRP2, 0, EB, ONE), [0xd1] = G(GRP2, 0, EV, ONE),
    [0xd2] = G(GRP2, 0, EB, CL), [0xd3] = G(GRP2, 0, EV, CL),
    [0xd4] = I(AAM, N64, IB), [0xd5] = I(AAD, N64, IB), [0xd6] = I(SALC, N64, 0),
    [0xd7] = I(XLAT, 0, 0),
    [0xd8 ... 0xdf] = OTHER(MR), /* x87 */
    [0xe0 ... 0xe2] = I(LOOP, D64, JB), [0xe3] = I(JCXZ, D64, JB),
    [0xe4] = I(IN, 0, AL, IB), [0xe5] = I(IN, 0, AXZ, IB),
    [0xe6] = I(OUT, 0, IB, AL), [0xe7] = I(OUT, 0, IB, AXZ),
    [0xe8] = I(CALL, D64, JZ), [0xe9] = I(JMP, D64, JZ),
    [0xea] = I(JMP_FAR, N64, AP), [0xeb] = I(JMP, D64, JB),
    [0xec] = I(IN, 0, AL, DX), [0xed] = I(IN, 0, AXZ, DX),
    [0xee] = I(OUT, 0, DX, AL), [0xef] = I(OUT, 0, DX, AXZ),
    [0xf1] = I(ICEBP, 0, 0), [0xf4] = I(HLT, 0, 0), [0xf5] = I(CMC, 0, 0),
    [0xf6] = G(GRP3B, 0, EB), [0xf7] = G(GRP3V, 0, EV),
    [0xf8] = I(CLC, 0, 0), [0xf9] = I(STC, 0, 0), [0xfa] = I(CLI, 0, 0), [0xfb] = I(STI, 0, 0),
    [0xfc] = I(CLD, 0, 0), [0xfd] = I(STD, 0, 0),
    [0xfe] = G(GRP4, 0, EB), [0xff] = G(GRP5, 0, EV),
};

#define BOTH(...) { { __VA_ARGS__ }, { __VA_ARGS__ } }
#define GROUP3(imm)                                                                             \
    BOTH(I(TEST, 0, 0, imm), I(TEST, 0, 0, imm), I(NOT, LK, 0), I(NEG, LK, 0), I(MUL, 0, 0),    \
         I(IMUL, 0, 0), I(DIV, 0, 0), I(IDIV, 0, 0))

const struct x86_desc x86_groups[GROUPS][2][8] = {
    [GRP1] = BOTH(I(ADD, LK, 0), I(OR, LK, 0), I(ADC, LK, 0), I(SBB, LK, 0), I(AND, LK, 0), I(SUB, LK, 0),
                  I(XOR, LK, 0), I(CMP, 0, 0)),
    [GRP1A] = BOTH(I(POP, 0, 0)),
    [GRP2] = BOTH(I(ROL, 0, 0), I(ROR, 0, 0), I(RCL, 0, 0), I(RCR, 0, 0), I(SHL, 0, 0), I(SHR, 0, 0),
                  I(SAL, 0, 0), I(SAR, 0, 0)),
    [GRP3B] = GROUP3(IB),
    [GRP3V] = GROUP3(IZ),
    [GRP4] = BOTH(I(INC, LK, 0), I(DEC, LK, 0)),
    [GRP5] = { { I(INC, LK, 0), I(DEC, LK, 0), I(CALL_INDIRECT, D64, 0), I(CALL_FAR, 0, 0),
                 I(JMP_INDIRECT, D64, 0), I(JMP_FAR, 0, 0), I(PUSH, D64, 0) },
               { I(INC, LK, 0), I(DEC, LK, 0), I(CALL_INDIRECT, D64, 0), { 0 },
                 I(JMP_INDIRECT, D64, 0), { 0 }, I(PUSH, D64, 0) } },
    [GRP6] = BOTH(I(SLDT, 0, EWV), I(STR, 0, EWV), I(LLDT, 0, EW), I(LTR, 0, EW),
                  OTHER(MR), OTHER(MR)), /* VERR VERW */
    [GRP7] = { { I(SGDT, 0, M), I(SIDT, 0, M), I(LGDT, 0, M), I(LIDT, 0, M), I(SMSW, 0, EWV), { 0 },
                 I(LMSW, 0, EW), I(INVLPG, 0, M) },
               { { 0 }, { 0 }, { 0 }, { 0 }, I(SMSW, 0, EWV), { 0 }, I(LMSW, 0, EW) } },
    [GRP8] = BOTH({ 0 }, { 0 }, { 0 }, { 0 }, I(BT, 0, 0), I(BTS, LK, 0), I(BTR, LK, 0), I(BTC, LK, 0)),
    [GRP9] = { { { 0 }, I(CMPXCHG8B, LK, M), { 0 }, OTHER(MR), OTHER(MR), OTHER(MR), OTHER(MR), OTHER(MR) },
               { { 0 }, { 0 }, { 0 }, { 0 }, { 0 }, { 0 }, OTHER(MR), OTHER(MR) } }, /* XSAVEC.. RDRAND */
    [GRP11] = { { I(MOV, 0, 0) },
                { I(MOV, 0, 0), { 0 }, { 0 }, { 0 }, { 0 }, { 0 }, { 0 }, OTHER(MR) } }, /* XBEGIN */
    [GRP15] = { { OTHER(MR), OTHER(MR), OTHER(MR), OTHER(MR), OTHER(MR), OTHER(MR), OTHER(MR),
                  I(CLFLUSH, 0, M) },
                { OTHER(MR), OTHER(MR), OTHER(MR), OTHER(MR), { 0 }, I(NOP, MR, 0),
                  I(NOP, MR, 0), I(NOP, MR, 0) } },
};

#define G7(modrm) [(modrm) - 0xc0]
const struct x86_desc x86_group7_register[64] = {
    G7(0xc8) = I(MONITOR, MR, 0), G7(0xc9) = I(MWAIT, MR, 0),
    G7(0xca) = I(CLAC, MR, 0), G7(0xcb) = I(STAC, MR, 0),
    G7(0xd0) = I(XGETBV, MR, 0), G7(0xd1) = I(XSETBV, MR, 0),
    G7(0xd8) = I(SVM, MR, 0), G7(0xd9) = I(SVM, MR, 0), G7(0xda) = I(SVM, MR, 0), G7(0xdb) = I(SVM, MR, 0),
    G7(0xdc) = I(SVM, MR, 0), G7(0xdd) = I(SVM, MR, 0),
    G7(0xde) = I(SVM, MR, 0), G7(0xdf) = I(INVLPGA, MR, 0),
    G7(0xee) = OTHER(MR), G7(0xef) = OTHER(MR), /* RDPKRU WRPKRU */
    G7(0xf8) = I(SWAPGS, MR | O64, 0), G7(0xf9) = I(RDTSCP, MR, 0),
    G7(0xfa) = OTHER(MR), G7(0xfb) = OTHER(MR),
    G7(0xfc) = OTHER(MR), G7(0xfd) = OTHER(MR), /* MONITORX .. RDPRU */
};
/* clang-format on */
