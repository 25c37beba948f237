/* SPDX-License-Identifier: GPL-3.0-or-later */
/* store-fields - the members of a model, each a column of its name. Inside jobs/store-*.c only. */
#pragma once

#define JOB_FIELDS(X)       \
        X(state)            \
        X(cancel_requested) \
        X(accept_unshipped) \
        X(has_delivery)     \
        X(has_return)       \
        X(deleted)          \
        X(alerts)           \
        X(created_usec)     \
        X(shipped_usec)     \
        X(asked_usec)       \
        X(done_usec)        \
        X(packaging_usec)   \
        X(ended_usec)
#define DRIVE_FIELDS(X)  \
        X(state)         \
        X(copy)          \
        X(status)        \
        X(activity)      \
        X(docked)        \
        X(running)       \
        X(held)          \
        X(unprocessed)   \
        X(bytes)         \
        X(bytes_done)    \
        X(blobs)         \
        X(blobs_done)    \
        X(received_usec) \
        X(begun_usec)    \
        X(ended_usec)    \
        X(activity_usec) \
        X(corrections)
#define NAME(field)   ", " #field
#define SET(field)    ", " #field " = ?"
#define NUMBER(field) , (uint64_t)v->field
#define LETTER(field) "u"
