/* SPDX-License-Identifier: BSD-2-Clause */
/* The two-byte opcode map 0F (APM vol. 3, tables ). SSE and MMX are there for their lengths; of
 * them only the 16-byte moves between memory and register have a meaning here. */
#include <servers/vmm/x86/tables.h>

/* clang-format off */
const struct x86_desc x86_two_byte[256] = {
    [0x00] = G(GRP6, 0, 0), [0x01] = G(GRP7, 0, 0), [0x02] = OTHER(MR), [0x03] = OTHER(MR), /* LAR LSL */
    [0x05] = I(SYSCALL, 0, 0), [0x06] = I(CLTS, 0, 0), [0x07] = I(SYSRET, 0, 0),
    [0x08] = I(INVD, 0, 0), [0x09] = I(WBINVD, 0, 0), [0x0b] = I(UD, 0, 0),
    [0x0d] = I(NOP, MR, 0), [0x0e] = OTHER(PLAIN), [0x0f] = OTHER(MR | I8), /* PREFETCH FEMMS 3DNow! */
    [0x10] = I(SSE_LOAD, PREFIXED, VX, WX), [0x11] = I(SSE_STORE, PREFIXED, WX, VX),
    [0x12 ... 0x17] = OTHER(MR), [0x18 ... 0x1f] = I(NOP, MR, 0),
    [0x20] = I(MOV_CR, 0, RY, CD), [0x21] = I(MOV_DR, 0, RY, DD),
    [0x22] = I(MOV_CR, 0, CD, RY), [0x23] = I(MOV_DR, 0, DD, RY),
    [0x28] = I(SSE_LOAD, PREFIXED, VX, WX), [0x29] = I(SSE_STORE, PREFIXED, WX, VX),
    [0x2a] = OTHER(MR), [0x2b] = I(SSE_STORE, PREFIXED, WX, VX), [0x2c ... 0x2f] = OTHER(MR),
    [0x30] = I(WRMSR, 0, 0), [0x31] = I(RDTSC, 0, 0), [0x32] = I(RDMSR, 0, 0), [0x33] = I(RDPMC, 0, 0),
    [0x34] = I(SYSENTER, 0, 0), [0x35] = I(SYSEXIT, 0, 0),
    [0x40 ... 0x4f] = I(CMOVCC, 0, GV, EV),
    [0x50 ... 0x6e] = OTHER(MR), [0x6f] = OTHER(MR | PREFIXED), [0x70 ... 0x73] = OTHER(MR | I8),
    [0x74 ... 0x76] = OTHER(MR), [0x77] = OTHER(PLAIN), [0x7c ... 0x7e] = OTHER(MR),
    [0x7f] = OTHER(MR | PREFIXED),
    [0x80 ... 0x8f] = I(JCC, D64, JZ), [0x90 ... 0x9f] = I(SETCC, 0, EB),
    [0xa0] = I(PUSH_SEG, D64, S_FS), [0xa1] = I(POP_SEG, D64, S_FS), [0xa2] = I(CPUID, 0, 0),
    [0xa3] = I(BT, 0, EV, GV), [0xa4] = I(SHLD, 0, EV, GV, IB), [0xa5] = I(SHLD, 0, EV, GV, CL),
    [0xa8] = I(PUSH_SEG, D64, S_GS), [0xa9] = I(POP_SEG, D64, S_GS), [0xaa] = I(RSM, 0, 0),
    [0xab] = I(BTS, LK, EV, GV), [0xac] = I(SHRD, 0, EV, GV, IB), [0xad] = I(SHRD, 0, EV, GV, CL),
    [0xae] = G(GRP15, PREFIXED, 0), [0xaf] = I(IMUL2, 0, GV, EV),
    [0xb0] = I(CMPXCHG, LK, EB, GB), [0xb1] = I(CMPXCHG, LK, EV, GV),
    [0xb2] = I(LOAD_FAR, 0, GV, M), [0xb3] = I(BTR, LK, EV, GV),
    [0xb4] = I(LOAD_FAR, 0, GV, M), [0xb5] = I(LOAD_FAR, 0, GV, M),
    [0xb6] = I(MOVZX, 0, GV, EB), [0xb7] = I(MOVZX, 0, GV, EW),
    [0xb8] = I(UD, MR | PREFIXED, 0), [0xb9] = I(UD, MR, 0),
    [0xba] = G(GRP8, 0, EV, IB), [0xbb] = I(BTC, LK, EV, GV),
    [0xbc] = I(BSF, PREFIXED, GV, EV), [0xbd] = I(BSR, PREFIXED, GV, EV),
    [0xbe] = I(MOVSX, 0, GV, EB), [0xbf] = I(MOVSX, 0, GV, EW),
    [0xc0] = I(XADD, LK, EB, GB), [0xc1] = I(XADD, LK, EV, GV),
    [0xc2] = OTHER(MR | I8), [0xc3] = I(MOV, PREFIXED, MY, GY), /* MOVNTI */
    [0xc4 ... 0xc6] = OTHER(MR | I8), [0xc7] = G(GRP9, 0, 0), [0xc8 ... 0xcf] = I(BSWAP, 0, ZV),
    [0xd0 ... 0xe6] = OTHER(MR), [0xe7] = OTHER(MR | PREFIXED), [0xe8 ... 0xef] = OTHER(MR),
    [0xf0] = OTHER(MR | PREFIXED), [0xf1 ... 0xfe] = OTHER(MR), [0xff] = I(UD, MR, 0),
};

const struct x86_prefixed x86_prefixed[] = {
    { 0x10, 0xf3, OTHER(MR) }, { 0x10, 0xf2, OTHER(MR) },
    { 0x11, 0xf3, OTHER(MR) }, { 0x11, 0xf2, OTHER(MR) },
    { 0x28, 0xf3, OTHER(MR) }, { 0x28, 0xf2, OTHER(MR) },
    { 0x29, 0xf3, OTHER(MR) }, { 0x29, 0xf2, OTHER(MR) },
    { 0x2b, 0xf3, OTHER(MR) }, { 0x2b, 0xf2, OTHER(MR) }, /* SSE4a MOVNTSS MOVNTSD */
    { 0x6f, 0x66, I(SSE_LOAD, 0, VX, WX) }, { 0x6f, 0xf3, I(SSE_LOAD, 0, VX, WX) },
    { 0x7f, 0x66, I(SSE_STORE, 0, WX, VX) }, { 0x7f, 0xf3, I(SSE_STORE, 0, WX, VX) },
    { 0xae, 0x66, OTHER(MR) }, { 0xae, 0xf3, OTHER(MR) }, { 0xae, 0xf2, OTHER(MR) }, /* CLWB RDFSBASE .. */
    { 0xb8, 0xf3, I(POPCNT, 0, GV, EV) }, { 0xbc, 0xf3, I(TZCNT, 0, GV, EV) },
    { 0xbd, 0xf3, I(LZCNT, 0, GV, EV) },
    { 0xc3, 0x66, { 0 } }, { 0xc3, 0xf2, { 0 } }, { 0xc3, 0xf3, { 0 } },
    { 0xe7, 0x66, I(SSE_STORE, 0, WX, VX) }, { 0xf0, 0xf2, I(SSE_LOAD, 0, VX, WX) },
};
const unsigned x86_prefixed_count = sizeof(x86_prefixed) / sizeof(x86_prefixed[0]);
/* clang-format on */
