/* SPDX-License-Identifier: BSD-2-Clause */
/* A record of whichever kind; see any.h. */
#include "any.h"

void any_code(struct record_codec *c, struct any *x, const struct umbra_exit_page *last)
{
    switch (x->kind) {
    case RECORD_BEGIN:
        record_begin(c, &x->begin);
        break;
    case RECORD_START:
        record_start(c, &x->cpu);
        break;
    case RECORD_EXIT:
        record_exit(c, &x->exit);
        break;
    case RECORD_ACCESS:
        record_access(c, &x->access);
        break;
    case RECORD_GIVE:
        record_give(c, &x->text);
        break;
    case RECORD_TAKE:
        record_take(c, &x->text);
        break;
    case RECORD_ANSWER:
        record_answer(c, last, &x->answer);
        break;
    default:
        record_end(c, &x->end);
    }
}

bool any_in_bounds(const struct any *x)
{
    switch (x->kind) {
    case RECORD_ACCESS:
        return x->access.bytes <= RECORD_DATA_MAX && x->access.kind < RECORD_ACCESS_KINDS;
    case RECORD_ANSWER:
        return x->answer.reply.op_words <= REPLY_OPS_MAX;
    case RECORD_GIVE:
    case RECORD_TAKE:
        return x->text.bytes <= RECORD_DATA_MAX && x->text.bytes <= x->text.max;
    default:
        return true;
    }
}
