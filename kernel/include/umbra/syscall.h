/* SPDX-License-Identifier: BSD-2-Clause */
/* The system call ABI (kernel-api.md, "System calls").
 *
 * `syscall` with RAX = a negative number; RCX and R11 are lost, all else but the registers named here is
 * kept. in:  RDI = capability (Recv and ReplyRecv: endpoint, or vCPU, in bits 0..31, Reply object in 32..63),
 * RSI = tag, RDX R10 R8 R9 = message words 0..3; words 4.. lie in the IPC buffer out: RAX = err_t, RDI =
 * badge, RSI = tag, RDX R10 R8 R9 = message words 0..3 A number >= 0 is a Linux system call: the kernel
 * passes the thread to the handler it registered (TCB_SET_HANDLER). */
#ifndef UMBRA_SYSCALL_H
#define UMBRA_SYSCALL_H

#include <umbra/errors.h>
#include <umbra/types.h>

enum {
    SYS_CALL = -1,       /* send and wait for the answer; on a kernel object: invoke it */
    SYS_REPLY_RECV = -2, /* answer the caller held by the Reply object (or the vCPU's exit), then receive */
    SYS_RECV = -3,       /* wait for a message, a signal or an exit */
    SYS_POLL = -4,       /* as SYS_RECV, but ERR_WOULD_BLOCK instead of waiting; not on a vCPU */
    SYS_REPLY = -5,      /* answer only; RDI = Reply object */
    SYS_SEND = -6,       /* send without an answer; waits for a receiver */
    SYS_SIGNAL = -7,     /* RDI = Notification: or the capability's badge into its word */
    SYS_YIELD = -8,      /* let others of the same priority run */
    SYS_NULL = -9,       /* nothing; the cheapest entry and exit */
    SYS_LAST = -9
};

/* tag: bits 0..7 number of words, 8..10 number of capabilities, 11 "a signal, not a message" (badge = the
 * bits), 32..63 label */
#define MSG_WORDS_MAX     64u
#define MSG_REGISTERS     4u
#define MSG_CAPS_MAX      4u
#define TAG(label, words) ((uint64_t)(label) << 32 | (words))
#define TAG_CAPS(n)       ((uint64_t)(n) << 8)
#define TAG_SIGNAL        BIT(11)
#define TAG_WORDS(t)      ((uint32_t)((t)&0xff))
#define TAG_NCAPS(t)      ((uint32_t)((t) >> 8 & 7))
#define TAG_LABEL(t)      ((uint32_t)((t) >> 32))

/* The IPC buffer: 4 KiB frame of the thread's own. words[0..3] are not used by the kernel. Capabilities named
 * in caps[] are derived into the receiver's slots recv_slot .. recv_slot+n-1 of its root CNode (or, if
 * recv_sub is not 0, of the CNode that CPTR recv_sub names); recv_slot 0 takes none. */
struct umbra_ipc_buffer {
    uint64_t words[MSG_WORDS_MAX];
    cptr_t caps[MSG_CAPS_MAX];
    cptr_t recv_sub;
    uint32_t recv_slot;
    uint32_t recv_limit; /* slots from recv_slot that the kernel may use */
    uint32_t pad;
};

/* Faults of a thread arrive as a Call at its fault endpoint; answering with no words executes the instruction
 * again, with words w0, w1 continues at RIP = w0 (and RSP = w1). */
enum {
    FAULT_PAGE = 0x100,      /* w0 RIP, w1 address, w2 error code (APM vol. 2, 8.4.2), w3 RSP */
    FAULT_EXCEPTION = 0x101, /* w0 RIP, w1 vector, w2 error code, w3 RSP */
    FAULT_SYSCALL = 0x102,   /* w0 RIP, w1 number: a Linux call without a handler, w3 RSP */
};

#endif
