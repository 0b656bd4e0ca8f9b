/* SPDX-License-Identifier: BSD-2-Clause */
/* Messages between memory and the kernel's registers and IPC buffer. See component.h, lib/idl/transport.h. */
#include "component/component.h"
#include "sys/sys.h"
#include <string.h>
#include <umbra/bootinfo.h>

static struct umbra_ipc_buffer *buffer(void)
{
    return (struct umbra_ipc_buffer *)BOOT_IPC_ADDRESS;
}

static void load(const struct umbra_message *m, struct sys_message *s)
{
    uint32_t n = TAG_WORDS(m->tag);

    s->tag = m->tag;
    memcpy(s->w, m->w, sizeof(s->w));
    if (n > MSG_REGISTERS)
        memcpy(buffer()->words + MSG_REGISTERS, m->w + MSG_REGISTERS, (n - MSG_REGISTERS) * 8);
    memcpy(buffer()->caps, m->caps, m->ncaps * sizeof(m->caps[0]));
}

static void store(const struct sys_message *s, struct umbra_message *m)
{
    uint32_t n = TAG_WORDS(s->tag);

    m->badge = s->badge;
    m->tag = s->tag;
    m->ncaps = TAG_NCAPS(s->tag);
    memcpy(m->w, s->w, sizeof(s->w));
    if (n > MSG_REGISTERS)
        memcpy(m->w + MSG_REGISTERS, buffer()->words + MSG_REGISTERS, (n - MSG_REGISTERS) * 8);
    for (uint32_t i = 0; i < m->ncaps; i++)
        m->caps[i] = buffer()->recv_slot + i;
}

/* Words of *m that the message does not use may be undefined: they are not sent. */
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
err_t umbra_transport_call(cptr_t ep, struct umbra_message *m)
{
    struct sys_message s;

    load(m, &s);
    err_t e = sys_call(ep, &s);
    if (e == ERR_OK)
        store(&s, m);
    return e;
}

err_t component_receive(cptr_t endpoint, cptr_t reply, struct umbra_message *m)
{
    struct sys_message s = { 0 };
    err_t e = sys_recv(endpoint, reply, &s);

    if (e == ERR_OK)
        store(&s, m);
    return e;
}

err_t component_answer(cptr_t reply, const struct umbra_message *m)
{
    struct sys_message s;

    load(m, &s);
    return sys_reply(reply, &s);
}
