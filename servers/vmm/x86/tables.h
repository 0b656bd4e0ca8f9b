/* SPDX-License-Identifier: BSD-2-Clause */
/* Opcode tables, shared by decode.c and tables*.c only. One row says what an opcode is, its operands in the
 * notation of APM vol. 3, appendix A (Eb = EB: byte register or memory, Gv = GV: register of operand size,
 * ..) and what else its encoding needs. A row of zeros is an undefined opcode. */
#ifndef VMM_X86_TABLES_H
#define VMM_X86_TABLES_H

#include <servers/vmm/x86/decode.h>

enum {
    /* ModRM.rm */
    EB = 1,
    EW,
    ED,
    EV,
    EWV /* memory word or register of operand size */,
    M /* memory only */,
    MY,
    WX,
    RY /* register whatever mod says, 4 or 8 bytes by mode */,
    X86_LAST_RM = RY,
    /* ModRM.reg */
    GB,
    GV,
    GY,
    SW,
    CD,
    DD,
    VX,
    X86_LAST_REG = VX,
    /* opcode bits 0..2 */
    ZB,
    ZV,
    /* fixed */
    AL,
    AXV,
    AXZ,
    CL,
    DX,
    ONE,
    S_ES,
    S_CS,
    S_SS,
    S_DS,
    S_FS,
    S_GS,
    /* immediate */
    IB,
    IBS /* sign-extended to operand size */,
    IW,
    IZ,
    IV,
    JB,
    JZ,
    AP,
    OB,
    OV,
};

enum {
    LK = 1,         /* LOCK allowed with a memory destination */
    D64 = 2,        /* operand size 8 in 64-bit code */
    N64 = 4,        /* undefined in 64-bit code */
    O64 = 8,        /* something else outside of 64-bit code, of the same shape */
    MR = 16,        /* a ModRM byte follows though no operand says so */
    I8 = 32,        /* an immediate byte follows though no operand says so */
    PLAIN = 64,     /* X86_OTHER without ModRM */
    GROUP = 128,    /* op is an index into x86_groups */
    PREFIXED = 256, /* x86_prefixed may hold another meaning */
};

enum { GRP1, GRP1A, GRP2, GRP3B, GRP3V, GRP4, GRP5, GRP6, GRP7, GRP8, GRP9, GRP11, GRP15, GROUPS };

struct x86_desc {
    uint8_t op; /* enum x86_op or GRP* */
    uint8_t operand[3];
    uint16_t flags;
};

struct x86_prefixed {
    uint8_t opcode, prefix; /* of the 0F map; prefix 66, F2 or F3 */
    struct x86_desc desc;
};

#define I(op, flags, ...)                                                                                    \
    {                                                                                                        \
        X86_##op, { __VA_ARGS__ }, flags                                                                     \
    }
#define G(group, flags, ...)                                                                                 \
    {                                                                                                        \
        group, { __VA_ARGS__ }, (flags) | GROUP                                                              \
    }
#define OTHER(flags)                                                                                         \
    {                                                                                                        \
        X86_OTHER, { 0 }, flags                                                                              \
    }

extern const struct x86_desc x86_one_byte[256];
extern const struct x86_desc x86_two_byte[256];
extern const struct x86_desc x86_groups[GROUPS][2]
                                       [8]; /* [][0] memory, [][1] register; operands add to the row's */
extern const struct x86_desc x86_group7_register[64]; /* 0F 01 C0..FF; zeros: as x86_groups says */
extern const struct x86_prefixed x86_prefixed[];
extern const unsigned x86_prefixed_count;

#endif
