/* SPDX-License-Identifier: BSD-2-Clause */
/* The links of the derivation tree: into it, and out. Pure; proved by WP (docs/assurance.md,
 * kernel.derive-links).
 */
#ifndef KERNEL_LINKS_H
#define KERNEL_LINKS_H

#include "cap.h"

/*@ predicate may_have_child(struct cap *c, struct cap *parent) = \valid(c) &&
        (parent == \null || (\valid(parent) && \separated(c, parent) && (parent->child == \null ||
         (\valid(parent->child) && \separated(parent->child, c, parent))))); */

/*@ requires may_have_child(c, parent);
    assigns c->parent, c->prev, c->next, parent->child, parent->child->prev;
    ensures its_parent: c->parent == parent && c->prev == \null;
    ensures first_child: parent != \null ==> parent->child == c;
    ensures before_the_others: parent != \null ==> c->next == \old(parent->child);
    ensures alone: parent == \null ==> c->next == \null;
    ensures linked_back: c->next != \null ==> c->next->prev == c;
    ensures children_kept: c->child == \old(c->child); */
static inline void link_below(struct cap *c, struct cap *parent)
{
    c->parent = parent;
    c->prev = NULL;
    c->next = parent ? parent->child : NULL;
    if (c->next)
        c->next->prev = c;
    if (parent)
        parent->child = c;
}

/* c has no links yet. */
/*@ requires may_have_child(c, parent);
    assigns c->depth, c->parent, c->child, c->prev, c->next;
    assigns parent->child, parent->child->prev;
    ensures deeper: parent != \null && parent->depth < DERIVE_DEPTH_MAX ==> c->depth == parent->depth + 1;
    ensures a_root: parent == \null ==> c->depth == 0;
    ensures a_leaf: c->child == \null;
    ensures a_child: c->parent == parent && (parent != \null ==> parent->child == c); */
static inline void link_new(struct cap *c, struct cap *parent)
{
    c->child = NULL;
    c->depth = parent ? parent->depth + 1 : 0;
    link_below(c, parent);
}

/*@ predicate has_neighbours(struct cap *c) = \valid_read(c) &&
        (c->prev == \null || (\valid(c->prev) && \separated(c, c->prev))) &&
        (c->next == \null || (\valid(c->next) && \separated(c, c->next))) &&
        (c->parent == \null || (\valid(c->parent) && \separated(c, c->parent))) &&
        (c->prev != \null && c->next != \null ==> \separated(c->prev, c->next)) &&
        (c->parent != \null && c->next != \null ==> \separated(c->parent, c->next)); */

/* Nothing leads to c any more; its own links stay. */
/*@ requires has_neighbours(c);
    assigns c->prev->next, c->next->prev, c->parent->child;
    ensures passed_over: c->prev != \null ==> c->prev->next == c->next;
    ensures next_is_first: c->prev == \null && c->parent != \null ==> c->parent->child == c->next;
    ensures passed_back: c->next != \null ==> c->next->prev == c->prev;
    ensures others_kept: c->prev != \null && c->parent != \null && \separated(c->prev, c->parent) ==>
        c->parent->child == \old(c->parent->child); */
static inline void link_out(const struct cap *c)
{
    if (c->prev)
        c->prev->next = c->next;
    else if (c->parent)
        c->parent->child = c->next;
    if (c->next)
        c->next->prev = c->prev;
}

#endif
