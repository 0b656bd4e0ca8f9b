/* SPDX-License-Identifier: BSD-2-Clause */
/* System calls as C functions. Nothing but registers and the IPC buffer is touched; no policy, no allocation.
 *
 * A thread that sends or receives more than four words, or capabilities, gives its IPC buffer's address. */
#ifndef UMBRA_SYS_H
#define UMBRA_SYS_H

#include <umbra/object.h>

/* A message as registers hold it; words from 4 on lie in the IPC buffer. */
struct sys_message {
    uint64_t badge, tag;
    uint64_t w[MSG_REGISTERS];
};

#define SYS_ASM(number, target)                                                                              \
    register uint64_t r10 __asm__("r10") = m->w[1];                                                          \
    register uint64_t r8 __asm__("r8") = m->w[2];                                                            \
    register uint64_t r9 __asm__("r9") = m->w[3];                                                            \
    uint64_t rax = (uint64_t)(int64_t)(number), rdi = (target);                                              \
    __asm__ volatile("syscall"                                                                               \
                     : "+a"(rax), "+D"(rdi), "+S"(m->tag), "+d"(m->w[0]), "+r"(r10), "+r"(r8), "+r"(r9)      \
                     :                                                                                       \
                     : "rcx", "r11", "memory");                                                              \
    m->badge = rdi;                                                                                          \
    m->w[1] = r10;                                                                                           \
    m->w[2] = r8;                                                                                            \
    m->w[3] = r9;                                                                                            \
    return (err_t)rax

static inline err_t sys_call(cptr_t target, struct sys_message *m)
{
    SYS_ASM(SYS_CALL, target);
}
static inline err_t sys_send(cptr_t target, struct sys_message *m)
{
    SYS_ASM(SYS_SEND, target);
}
static inline err_t sys_reply(cptr_t reply, struct sys_message *m)
{
    SYS_ASM(SYS_REPLY, reply);
}
static inline err_t sys_recv(cptr_t from, cptr_t reply, struct sys_message *m)
{
    SYS_ASM(SYS_RECV, from | (uint64_t)reply << 32);
}
static inline err_t sys_poll(cptr_t from, cptr_t reply, struct sys_message *m)
{
    SYS_ASM(SYS_POLL, from | (uint64_t)reply << 32);
}
static inline err_t sys_reply_recv(cptr_t from, cptr_t reply, struct sys_message *m)
{
    SYS_ASM(SYS_REPLY_RECV, from | (uint64_t)reply << 32);
}

/* Answer the pending exit of a vCPU and receive the next. An error: *word, the index of the operation that it
 * is about. */
static inline err_t sys_answer(cptr_t vcpu, uint64_t *word)
{
    uint64_t rax = (uint64_t)(int64_t)SYS_REPLY_RECV, rdi = vcpu, rsi = 0;

    __asm__ volatile("syscall"
                     : "+a"(rax), "+D"(rdi), "+S"(rsi), "=d"(*word)
                     :
                     : "rcx", "r8", "r9", "r10", "r11", "memory");
    return (err_t)rax;
}

static inline err_t sys_simple(int64_t number, uint64_t argument)
{
    uint64_t rax = (uint64_t)number, rdi = argument, rsi = 0;

    __asm__ volatile("syscall"
                     : "+a"(rax), "+D"(rdi), "+S"(rsi)
                     :
                     : "rcx", "rdx", "r8", "r9", "r10", "r11", "memory");
    return (err_t)rax;
}
static inline err_t sys_signal(cptr_t notification)
{
    return sys_simple(SYS_SIGNAL, notification);
}
static inline void sys_yield(void)
{
    sys_simple(SYS_YIELD, 0);
}
static inline void sys_null(void)
{
    sys_simple(SYS_NULL, 0);
}

/* Wait for a Notification: its bits. 0: the notification is gone. */
static inline uint64_t sys_wait(cptr_t notification)
{
    struct sys_message m = { 0 };
    return sys_recv(notification, 0, &m) == ERR_OK ? m.badge : 0;
}

/* Invoke a method with up to four words; the first result word, where there is one, goes to *result. */
static inline err_t sys_invoke(cptr_t object, uint32_t method, unsigned words, uint64_t a, uint64_t b,
                               uint64_t c, uint64_t d, uint64_t *result)
{
    struct sys_message m = { .tag = TAG(method, words), .w = { a, b, c, d } };
    err_t e = sys_call(object, &m);

    if (result)
        *result = m.w[0];
    return e;
}
#define sys_invoke0(o, m)             sys_invoke(o, m, 0, 0, 0, 0, 0, NULL)
#define sys_invoke1(o, m, a)          sys_invoke(o, m, 1, a, 0, 0, 0, NULL)
#define sys_invoke2(o, m, a, b)       sys_invoke(o, m, 2, a, b, 0, 0, NULL)
#define sys_invoke3(o, m, a, b, c)    sys_invoke(o, m, 3, a, b, c, 0, NULL)
#define sys_invoke4(o, m, a, b, c, d) sys_invoke(o, m, 4, a, b, c, d, NULL)

/* Retype: five words, so the last lies in the IPC buffer. */
static inline err_t sys_retype(struct umbra_ipc_buffer *buffer, cptr_t untyped, unsigned type, unsigned bits,
                               cptr_t cnode, uint64_t slot, uint64_t count)
{
    struct sys_message m = { .tag = TAG(UNTYPED_RETYPE, 5), .w = { type, bits, cnode, slot } };

    ((volatile struct umbra_ipc_buffer *)buffer)->words[4] = count;
    return sys_call(untyped, &m);
}

#endif
