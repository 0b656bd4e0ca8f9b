/* SPDX-License-Identifier: BSD-2-Clause */
/* Made from idl/errors.toml by idl/umbra_idl/errors.py; change it there. */
#ifndef UMBRA_ERRORS_H
#define UMBRA_ERRORS_H

typedef enum err {
    ERR_OK = 0,             /* done */
    ERR_BAD_SYSCALL = 1,    /* no system call has this number */
    ERR_NO_CAP = 2,         /* the capability address names no slot, or an empty one */
    ERR_WRONG_TYPE = 3,     /* the capability is of another type than the operation needs */
    ERR_NO_RIGHT = 4,       /* the capability lacks a right that the operation needs */
    ERR_BAD_METHOD = 5,     /* the object has no such method */
    ERR_SHORT_MESSAGE = 6,  /* the message has fewer words than the method needs */
    ERR_RANGE = 7,          /* an argument is outside its range */
    ERR_ALIGNMENT = 8,      /* an address or offset is not aligned as needed */
    ERR_SLOT_OCCUPIED = 9,  /* the destination slot is not empty */
    ERR_NO_MEMORY = 10,     /* the untyped memory, pool or quota is used up */
    ERR_DEVICE_MEMORY = 11, /* device memory makes frames only */
    ERR_HAS_CHILDREN =
        12,            /* the capability has derived capabilities and the operation needs it to have none */
    ERR_TOO_DEEP = 13, /* the derivation tree would become deeper than its limit */
    ERR_NOT_DERIVABLE = 14,   /* no capability can be derived from this one */
    ERR_ALREADY_MAPPED = 15,  /* the capability is mapped already, or the address is in use */
    ERR_NOT_MAPPED = 16,      /* the capability is not mapped */
    ERR_NO_TABLE = 17,        /* a page table on the way to the address is missing */
    ERR_ALREADY_BOUND = 18,   /* the object is bound already */
    ERR_NOT_BOUND = 19,       /* the object lacks a binding that the operation needs */
    ERR_WRONG_STATE = 20,     /* the object is in a state that does not allow the operation */
    ERR_WOULD_BLOCK = 21,     /* nothing was there and the call does not wait */
    ERR_CANCELLED = 22,       /* the object went away while the thread was waiting on it */
    ERR_NO_REPLY = 23,        /* the reply object holds no caller */
    ERR_NO_IPC_BUFFER = 24,   /* the message needs an IPC buffer and the thread has none */
    ERR_WRONG_SEQUENCE = 25,  /* the reply names another exit than the pending one */
    ERR_STALE_TABLE = 26,     /* the shadow table belongs to an earlier epoch */
    ERR_WRONG_VM = 27,        /* the object belongs to another VM */
    ERR_WRONG_LEVEL = 28,     /* the shadow table's level or format does not fit there */
    ERR_LINKED = 29,          /* the shadow table is still linked */
    ERR_NOT_IN_GUEST = 30,    /* the guest frame number is not backed by the guest space */
    ERR_FRAME_BUSY = 31,      /* the frame is mapped in a guest space already */
    ERR_BAD_STATE_VALUE = 32, /* a guest register value is not allowed */
    ERR_BAD_OPERATION = 33,   /* no reply operation has this code, or the list is cut short */
    ERR_PRIORITY = 34,        /* the priority is above the scheduling context's ceiling */
    ERR_PORT = 35,            /* the I/O port is outside the capability's range */
    ERR_IRQ_TAKEN = 36,       /* the interrupt has a handler already */
    ERR_NO_CAP_SLOT = 37,     /* the receiver has no empty slot for the capability */
    ERR_BAD_MESSAGE = 38,     /* the message does not fit the interface */
    ERR_NO_SUPPORT = 39,      /* the processor lacks what the operation needs */
    ERR_CONTRACT = 40,        /* a requires or ensures clause of the interface does not hold */
    ERR_COUNT = 41
} err_t;

#define UMBRA_ERROR_NAMES                                                                                    \
    {                                                                                                        \
        "OK", "BAD_SYSCALL", "NO_CAP", "WRONG_TYPE", "NO_RIGHT", "BAD_METHOD", "SHORT_MESSAGE", "RANGE",     \
            "ALIGNMENT", "SLOT_OCCUPIED", "NO_MEMORY", "DEVICE_MEMORY", "HAS_CHILDREN", "TOO_DEEP",          \
            "NOT_DERIVABLE", "ALREADY_MAPPED", "NOT_MAPPED", "NO_TABLE", "ALREADY_BOUND", "NOT_BOUND",       \
            "WRONG_STATE", "WOULD_BLOCK", "CANCELLED", "NO_REPLY", "NO_IPC_BUFFER", "WRONG_SEQUENCE",        \
            "STALE_TABLE", "WRONG_VM", "WRONG_LEVEL", "LINKED", "NOT_IN_GUEST", "FRAME_BUSY",                \
            "BAD_STATE_VALUE", "BAD_OPERATION", "PRIORITY", "PORT", "IRQ_TAKEN", "NO_CAP_SLOT",              \
            "BAD_MESSAGE", "NO_SUPPORT", "CONTRACT"                                                          \
    }

#endif
