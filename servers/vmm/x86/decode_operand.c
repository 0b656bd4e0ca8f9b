/* SPDX-License-Identifier: BSD-2-Clause */
/* Decoder: operands, by the type that the opcode's row gives them (tables.h). */
#include <servers/vmm/x86/cursor.h>

static struct x86_operand gpr_operand(const struct x86_insn *in, unsigned reg, unsigned size)
{
    if (size == 1 && !in->rex && reg >= 4)
        return (struct x86_operand){ X86_REG_HIGH, 1, (uint8_t)(reg - 4) };
    return (struct x86_operand){ X86_REG, (uint8_t)size, (uint8_t)reg };
}

/* Operands in ModRM.rm. Returns false where memory or register is not possible. */
static bool rm_operand(const struct x86_insn *in, unsigned type, struct x86_operand *o)
{
    bool memory = in->modrm < 0xc0;
    unsigned rm = (in->modrm & 7) | (in->rex & 1) << 3, size = 0;
    switch (type) {
    case EB:
        size = 1;
        break;
    case EW:
        size = 2;
        break;
    case ED:
        size = 4;
        break;
    case EV:
        size = in->opsize;
        break;
    case EWV:
        size = memory ? 2 : in->opsize;
        break;
    case MY:
        size = (in->rex & 8) ? 8 : 4;
        break;
    case WX:
        size = 16;
        break;
    case RY:
        *o = gpr_operand(in, rm, in->mode == X86_64 ? 8 : 4);
        return true;
    }
    if (memory)
        *o = (struct x86_operand){ X86_MEM, (uint8_t)size, 0 };
    else if (type == WX)
        *o = (struct x86_operand){ X86_XMM, 16, (uint8_t)rm };
    else
        *o = gpr_operand(in, rm, size);
    return memory || (type != M && type != MY);
}

/* CR0 2 3 4 8 exist; LOCK turns CR0 into CR8 (APM vol. 3, MOV CRn). */
static bool cr_operand(struct x86_insn *in, unsigned reg, struct x86_operand *o)
{
    if (in->lock && reg == 0) {
        reg = 8;
        in->lock = false;
    }
    *o = (struct x86_operand){ X86_CR, 0, (uint8_t)reg };
    return reg == 0 || reg == 2 || reg == 3 || reg == 4 || reg == 8;
}

/* Operands in ModRM.reg. Returns false for a register that does not exist. */
static bool reg_operand(struct x86_insn *in, unsigned type, struct x86_operand *o)
{
    unsigned low = in->modrm >> 3 & 7, reg = low | (in->rex & 4) << 1;
    switch (type) {
    case GB:
        *o = gpr_operand(in, reg, 1);
        return true;
    case GV:
        *o = gpr_operand(in, reg, in->opsize);
        return true;
    case GY:
        *o = gpr_operand(in, reg, (in->rex & 8) ? 8 : 4);
        return true;
    case VX:
        *o = (struct x86_operand){ X86_XMM, 16, (uint8_t)reg };
        return true;
    case SW:
        *o = (struct x86_operand){ X86_SEGREG, 2, (uint8_t)low };
        return low <= SEG_GS;
    case DD:
        *o = (struct x86_operand){ X86_DR, 0, (uint8_t)reg };
        return reg < 8;
    default:
        return cr_operand(in, reg, o);
    }
}

static void fixed_operand(const struct x86_insn *in, unsigned type, struct x86_operand *o)
{
    unsigned z = (in->opcode & 7) | (in->rex & 1) << 3, iosize = in->opsize == 8 ? 4 : in->opsize;
    switch (type) {
    case ZB:
        *o = gpr_operand(in, z, 1);
        break;
    case ZV:
        *o = gpr_operand(in, z, in->opsize);
        break;
    case AL:
        *o = (struct x86_operand){ X86_REG, 1, RAX };
        break;
    case AXV:
        *o = (struct x86_operand){ X86_REG, in->opsize, RAX };
        break;
    case AXZ:
        *o = (struct x86_operand){ X86_REG, (uint8_t)iosize, RAX };
        break;
    case CL:
        *o = (struct x86_operand){ X86_REG, 1, RCX };
        break;
    case DX:
        *o = (struct x86_operand){ X86_REG, 2, RDX };
        break;
    default:
        *o = (struct x86_operand){ X86_SEGREG, 2, (uint8_t)(type - S_ES) };
        break;
    }
}

static void take_immediate(struct cursor *c, struct x86_insn *in, unsigned type, struct x86_operand *o)
{
    unsigned z = in->opsize == 2 ? 2 : 4;
    *o = (struct x86_operand){ X86_IMM, in->opsize, 0 };
    switch (type) {
    case ONE:
        in->imm = 1;
        break;
    case IB:
        o->size = 1;
        if (in->op == X86_ENTER)
            in->imm2 = take(c);
        else
            in->imm = take(c);
        break;
    case IW:
        in->imm = take_number(c, 2);
        o->size = 2;
        break;
    case IBS:
    case JB:
        in->imm = take_signed(c, 1);
        break;
    case IZ:
    case JZ:
        in->imm = take_signed(c, z);
        break;
    case IV:
        in->imm = take_number(c, in->opsize);
        break;
    case AP:
        in->imm = take_number(c, in->opsize);
        in->imm2 = (uint16_t)take_number(c, 2);
        break;
    }
}

static void moffs_operand(struct cursor *c, struct x86_insn *in, unsigned type, struct x86_operand *o)
{
    x86_take_moffs(c, in);
    *o = (struct x86_operand){ X86_MEM, type == OB ? 1 : in->opsize, 0 };
}

bool x86_take_operand(struct cursor *c, struct x86_insn *in, unsigned type, struct x86_operand *o)
{
    if (type <= X86_LAST_RM)
        return rm_operand(in, type, o);
    if (type <= X86_LAST_REG)
        return reg_operand(in, type, o);
    if (type <= S_GS && type != ONE)
        fixed_operand(in, type, o);
    else if (type == OB || type == OV)
        moffs_operand(c, in, type, o);
    else
        take_immediate(c, in, type, o);
    return true;
}
