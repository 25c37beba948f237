/* SPDX-License-Identifier: GPL-3.0-or-later */
/* reason - the closed list of reasons that errors carry: stable name, sentence, advice.
 * Names are part of the JSON output and of the log; they never change their meaning. */
#pragma once

#include <errno.h>

/* X(identifier, name, sentence, advice) */
#define BTH_REASONS(X)                                                                             \
        X(NONE, "none", "no reason given", "look into the log around this time")                   \
        X(INTERNAL, "internal", "an internal error", "report it with the log")                     \
        X(OUT_OF_MEMORY, "out-of-memory", "there was not enough memory",                           \
          "free memory or lower the budget, then retry")                                           \
        X(USAGE, "usage", "the command cannot be understood", "see --help")                        \
        X(FILE_UNREADABLE, "file-unreadable", "the file cannot be read",                           \
          "check its name and permissions")                                                        \
        X(FILE_UNWRITABLE, "file-unwritable", "the file cannot be written",                        \
          "check the folder, its permissions and the free space")                                  \
        X(DISK_FULL, "disk-full", "the disk is full", "free space, then retry")                    \
        X(TOO_LARGE, "too-large", "it is larger than the limit",                                   \
          "check that it is the right file")                                                       \
        X(NOT_TEXT, "not-text", "it is not valid text", "save it as UTF-8")                        \
        X(SYNTAX, "syntax", "it does not follow its format", "correct the named place")            \
        X(XML_SYNTAX, "xml-syntax", "it is not well-formed XML", "correct the named line")         \
        X(XML_FORBIDDEN, "xml-forbidden", "it uses an XML feature that is not allowed here",       \
          "remove entities and document types")                                                    \
        X(VALUE_INVALID, "value-invalid", "a value is not allowed", "correct the named value")     \
        X(VALUE_MISSING, "value-missing", "a required value is missing", "add it")                 \
        X(HASH_MISMATCH, "hash-mismatch", "the content does not have the expected hash",           \
          "make it again from the original")                                                       \
        X(NOT_A_JOURNAL, "not-a-journal", "this is not a journal",                                 \
          "give the .jrn or its drive XML")                                                        \
        X(NOT_A_MANIFEST, "not-a-manifest", "this is not a drive manifest",                        \
          "give the DriveManifest.xml of the drive")                                               \
        X(NOT_A_COPY_LOG, "not-a-copy-log", "this is not a copy log",                              \
          "give an error or verbose log")                                                          \
        X(DRIVE_GONE, "drive-gone", "the drive was removed", "dock it again")                      \
        X(DRIVE_READ_ERROR, "drive-read-error", "the drive cannot read the named place",           \
          "check cable and health of the drive, then retry")                                       \
        X(DRIVE_WRITE_ERROR, "drive-write-error", "the drive cannot write the named place",        \
          "check cable and health of the drive, then retry")                                       \
        X(NO_PARTITION, "no-partition", "no data partition was found",                             \
          "check that it is the right drive")                                                      \
        X(NOT_BITLOCKER, "not-bitlocker", "the volume is not encrypted with BitLocker",            \
          "ask the customer for an encrypted drive")                                               \
        X(BITLOCKER_DAMAGED, "bitlocker-damaged", "the BitLocker metadata is damaged",             \
          "ask the customer to check the drive")                                                   \
        X(BITLOCKER_UNSUPPORTED, "bitlocker-unsupported",                                          \
          "this form of BitLocker is not supported",                                               \
          "ask the customer to encrypt with Windows 7 or later")                                   \
        X(KEY_MALFORMED, "key-malformed", "the key is not well formed",                            \
          "compare it with the journal")                                                           \
        X(NO_SUCH_PROTECTOR, "no-such-protector", "the volume has no protector of this kind",      \
          "use another kind of key")                                                               \
        X(WRONG_KEY, "wrong-key", "the key does not fit this volume",                              \
          "check that journal and drive belong together")                                          \
        X(CONVERSION_ACTIVE, "conversion-active", "encryption of the volume was not finished",     \
          "ask the customer to finish the encryption")                                             \
        X(NOT_NTFS, "not-ntfs", "the volume has no NTFS file system",                              \
          "ask the customer to use NTFS")                                                          \
        X(NTFS_DAMAGED, "ntfs-damaged", "the NTFS file system is damaged",                         \
          "ask the customer to run chkdsk")                                                        \
        X(DEVICE_BUSY, "device-busy", "the device is in use", "unmount it first")                  \
        X(DEVICE_NOT_EMPTY, "device-not-empty", "the device holds data",                           \
          "confirm that it may be destroyed")                                                      \
        X(DEVICE_WRONG_SIZE, "device-wrong-size", "the device has another size than expected",     \
          "check that it is the right drive")                                                      \
        X(NETWORK, "network", "the network or the server did not answer", "check the connection")  \
        X(CREDENTIALS, "credentials", "the credential was refused",                                \
          "renew the account's credential")                                                        \
        X(NAME_INVALID, "name-invalid", "the name is not allowed", "choose another name")          \
        X(LIMIT_EXCEEDED, "limit-exceeded", "a limit is exceeded", "split it up")                  \
        X(FOREIGN_BLOCKS, "foreign-blocks", "uncommitted blocks of another writer are in the way", \
          "delete or commit them, or wait a week until the service drops them")                    \
        X(CANCELLED, "cancelled", "it was stopped on request", "start it again")                   \
        X(UNSUPPORTED, "unsupported", "this is not supported here", "see the manual")              \
        X(NOT_FOUND, "not-found", "there is no such thing", "list what there is")                  \
        X(CONFLICT, "conflict", "it contradicts what is there already", "look at that first")      \
        X(REFUSED, "refused", "it is not possible in the present state", "see the states")         \
        X(STORE_NEWER, "store-newer", "the records were written by a newer version",               \
          "install that version again")                                                            \
        X(STORE_DAMAGED, "store-damaged", "the records of the station are damaged",                \
          "restore them from a backup")                                                            \
        X(STORE_BUSY, "store-busy", "another process uses the records of the station",             \
          "stop it first")                                                                         \
        X(NO_STATION, "no-station", "the station's daemon does not answer",                        \
          "start it (systemctl start berthd), or name its socket with --socket")                   \
        X(NOT_PERMITTED, "not-permitted", "the right to do this is missing",                       \
          "ask who administers the station")                                                       \
        X(SERVICE_REFUSED, "service-refused", "the storage service refused the request",           \
          "look at what it answered, and at the blob or container there")

enum bth_reason {
#define X(id, name, sentence, advice) BTH_REASON_##id,
        BTH_REASONS(X)
#undef X
                _BTH_REASON_MAX,
        _BTH_REASON_INVALID = -EINVAL,
};

/* Stable name, e.g. "wrong-key"; NULL for a value outside the list. */
const char *bth_reason_to_string(enum bth_reason r);
/* The value, or _BTH_REASON_INVALID (-EINVAL). `name` may be NULL. */
enum bth_reason bth_reason_from_string(const char *name);
/* One sentence for people, and what to do; "" for a value outside the list. */
const char *bth_reason_sentence(enum bth_reason r);
const char *bth_reason_advice(enum bth_reason r);
