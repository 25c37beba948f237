/* SPDX-License-Identifier: GPL-3.0-or-later */
/* names - every name that other programs see: journal fields, message ids, environment. */
#pragma once

#include "base/macros.h"

#define BTH_FIELD_BAY          "BERTH_BAY"
#define BTH_FIELD_DRIVE_SERIAL "BERTH_DRIVE_SERIAL"
#define BTH_FIELD_JOB          "BERTH_JOB"
#define BTH_FIELD_BLOB         "BERTH_BLOB"
#define BTH_FIELD_REASON       "BERTH_REASON"
#define BTH_FIELD_OBJECT       "BERTH_OBJECT"

/* Where berthctl finds the station's socket, instead of /run/berth/berthd.sock. */
#define BTH_ENV_SOCKET       "BERTH_SOCKET"
#define BTH_FIELD_MESSAGE_ID "MESSAGE_ID"

/* Ids of the messages that a station's watch may wait for; they never change their meaning.
 * X(identifier, 128 bits in hex, what happened) */
#define BTH_MESSAGE_IDS(X)                                                                         \
        X(STARTED, "804680d85cab4dfead7767b72425cb4b", "the station watches its bays")             \
        X(STOPPED, "20225cade8da4758bc40db9cfe68979a", "the station has stopped")                  \
        X(DRIVE_DOCKED, "d4860ee1f70a4ea9b9a3bb1c7b842a04", "a drive of a job is docked")          \
        X(DRIVE_UNKNOWN, "78b484cb1d4441c79e84b4457d086eb3",                                       \
          "a drive that belongs to no job is docked")                                              \
        X(DRIVE_REMOVED, "2068d871b7144f78aaa5ddc016788de9", "a drive left its bay")               \
        X(DRIVE_BEGUN, "ac54cb5abd6d4276a4e42d266a613eae", "the worker of a drive was started")    \
        X(DRIVE_COMPLETED, "7574ccd0146f4c46a0a5210d602f11e1", "everything on a drive was copied") \
        X(DRIVE_FAILED, "550f4b9976dc458ebd68fea1a8a5ffbc",                                        \
          "a drive came to an end, and not all is well")                                           \
        X(DRIVE_INTERRUPTED, "e12c9d9c8a514bcf9b0383eccbf978bd",                                   \
          "a run ended before its drive was done")                                                 \
        X(DRIVE_SAFE, "d51a2b0eba134e8a901eea59c38648d0", "a drive was made safe to remove")       \
        X(STORE_TROUBLE, "a0d496f6500c4c4fb45eb001961ef626", "the records cannot be written")      \
        X(STORE_WELL, "232b443f157f487c8b578ae6537ac925", "the records can be written again")      \
        X(HISTORY_SHORTENED, "d1350e61558c44aabc8ea7def56fa2e0",                                   \
          "old jobs and events were taken out of the records")

/* The id as the value of the field, BTH_ID(DRIVE_DOCKED). */
#define BTH_ID(id)           bth_message_id_##id
#define X(id, hex, sentence) static const char bth_message_id_##id[] _unused_ = hex;
BTH_MESSAGE_IDS(X)
#undef X
