/* SPDX-License-Identifier: GPL-3.0-or-later */
/* status - the words of the Import/Export service for drives, blobs and jobs.
 * Each is an enum with the exact text that logs and the job API carry, and one sentence for people.
 * Lists: import-export specification sections 5.3 (logs), 6.1 (jobs), 6.5 (drives); all [D]. */
#pragma once

#include <errno.h>

#define BTH_DRIVE_STATUSES(X)                                                                      \
        X(COMPLETED, "Completed", "everything on the drive was copied")                            \
        X(COMPLETED_WITH_WARNINGS, "CompletedWithWarnings",                                        \
          "everything was copied; some blobs were renamed, skipped or replaced")                   \
        X(COMPLETED_WITH_ERRORS, "CompletedWithErrors", "some blobs could not be copied")          \
        X(DISK_NOT_FOUND, "DiskNotFound", "the drive was not seen")                                \
        X(VOLUME_NOT_NTFS, "VolumeNotNtfs", "the first data volume is not NTFS")                   \
        X(DISK_OPERATION_FAILED, "DiskOperationFailed", "the drive failed while it was read")      \
        X(BITLOCKER_VOLUME_NOT_FOUND, "BitLockerVolumeNotFound",                                   \
          "the drive has no volume that BitLocker could hold")                                     \
        X(BITLOCKER_NOT_ACTIVATED, "BitLockerNotActivated", "the volume is not encrypted")         \
        X(BITLOCKER_PROTECTOR_NOT_FOUND, "BitLockerProtectorNotFound",                             \
          "the volume has no protector for this kind of key")                                      \
        X(BITLOCKER_KEY_INVALID, "BitLockerKeyInvalid", "the key does not unlock the volume")      \
        X(BITLOCKER_UNLOCK_VOLUME_FAILED, "BitLockerUnlockVolumeFailed",                           \
          "the volume could not be unlocked for a reason other than the key")                      \
        X(BITLOCKER_FAILED, "BitLockerFailed", "the BitLocker volume cannot be used")              \
        X(MANIFEST_NAME_INVALID, "ManifestNameInvalid", "the manifest's path is not a legal name") \
        X(MANIFEST_NAME_TOO_LONG, "ManifestNameTooLong", "the manifest's path is too long")        \
        X(MANIFEST_NOT_FOUND, "ManifestNotFound", "the manifest is not on the drive")              \
        X(MANIFEST_ACCESS_DENIED, "ManifestAccessDenied", "the manifest may not be read")          \
        X(MANIFEST_CORRUPTED, "ManifestCorrupted", "the manifest's hash is not the job's")         \
        X(MANIFEST_FORMAT_INVALID, "ManifestFormatInvalid",                                        \
          "the manifest does not fit the format")                                                  \
        X(MANIFEST_DRIVE_ID_MISMATCH, "ManifestDriveIdMismatch",                                   \
          "the manifest was made for a drive with another serial number")                          \
        X(READ_MANIFEST_FAILED, "ReadManifestFailed",                                              \
          "the drive failed while the manifest was read")                                          \
        X(BLOB_LIST_FORMAT_INVALID, "BlobListFormatInvalid", "the list of blobs is malformed")     \
        X(BLOB_REQUEST_FORBIDDEN, "BlobRequestForbidden", "the storage account refuses access")    \
        X(INTERNAL_ERROR, "InternalError", "an internal error")

#define BTH_BLOB_STATUSES(X)                                                                    \
        X(COMPLETED, "Completed", "the blob was copied")                                        \
        X(COMPLETED_WITH_ERRORS, "CompletedWithErrors", "parts of the blob were not copied")    \
        X(FILE_NAME_INVALID, "FileNameInvalid", "the file's path is not a legal name")          \
        X(FILE_NAME_TOO_LONG, "FileNameTooLong", "the file's path is too long")                 \
        X(FILE_NOT_FOUND, "FileNotFound", "the file is not on the drive")                       \
        X(FILE_ACCESS_DENIED, "FileAccessDenied", "the file may not or cannot be read")         \
        X(BLOB_REQUEST_FAILED, "BlobRequestFailed", "the storage service refused a request")    \
        X(BLOB_REQUEST_FORBIDDEN, "BlobRequestForbidden", "the storage account refuses access") \
        X(RENAME_FAILED, "RenameFailed", "no free name was found")                              \
        X(BLOB_UNEXPECTED_CHANGE, "BlobUnexpectedChange", "the blob changed during the copy")   \
        X(LEASE_PRESENT, "LeasePresent", "somebody holds a lease on the blob")                  \
        X(IO_FAILED, "IOFailed", "the drive or the network failed")                             \
        X(FAILED, "Failed", "the copy failed for an unknown reason")

#define BTH_DISPOSITIONS(X)                                                            \
        X(RENAME, "rename", "an existing blob stays; the new one gets a free name")    \
        X(NO_OVERWRITE, "no-overwrite", "an existing blob stays; the file is skipped") \
        X(OVERWRITE, "overwrite", "an existing blob is replaced")

#define BTH_DISPOSITION_STATUSES(X)                                                  \
        X(CREATED, "Created", "the blob did not exist before")                       \
        X(RENAMED, "Renamed", "the blob got another name because its own was taken") \
        X(SKIPPED, "Skipped", "a blob of this name exists and was kept")             \
        X(OVERWRITTEN, "Overwritten", "a blob of this name was replaced")            \
        X(CANCELLED, "Cancelled", "nothing was done because the blob had failed before")

#define BTH_RANGE_STATUSES(X)                                                                     \
        X(COMPLETED, "Completed", "the range was copied")                                         \
        X(COMMITTED, "Committed", "the block is committed, but the whole list is not")            \
        X(UNCOMMITTED, "Uncommitted", "the block was uploaded, but not committed")                \
        X(CORRUPTED, "Corrupted", "the content does not have the manifest's hash")                \
        X(FILE_UNEXPECTED_END, "FileUnexpectedEnd", "the file is shorter than the manifest says") \
        X(BLOB_UNEXPECTED_END, "BlobUnexpectedEnd", "the blob is shorter than expected")          \
        X(BLOB_REQUEST_FAILED, "BlobRequestFailed", "the storage service refused the request")    \
        X(IO_FAILED, "IOFailed", "the drive or the network failed")                               \
        X(FAILED, "Failed", "it failed for an unknown reason")                                    \
        X(CANCELLED, "Cancelled", "not tried, because the blob had failed before")

#define BTH_SIDECAR_STATUSES(X)                                                       \
        X(COMPLETED, "Completed", "it was read and applied")                          \
        X(FILE_NAME_INVALID, "FileNameInvalid", "its path is not a legal name")       \
        X(FILE_NAME_TOO_LONG, "FileNameTooLong", "its path is too long")              \
        X(FILE_NOT_FOUND, "FileNotFound", "it is not on the drive")                   \
        X(FILE_ACCESS_DENIED, "FileAccessDenied", "it may not or cannot be read")     \
        X(CORRUPTED, "Corrupted", "it does not have the manifest's hash")             \
        X(XML_READ_FAILED, "XmlReadFailed", "it does not fit its format")             \
        X(XML_WRITE_FAILED, "XmlWriteFailed", "it could not be written")              \
        X(BLOB_REQUEST_FAILED, "BlobRequestFailed", "the storage service refused it") \
        X(IO_FAILED, "IOFailed", "the drive or the network failed")                   \
        X(FAILED, "Failed", "it failed for an unknown reason")                        \
        X(CANCELLED, "Cancelled", "not tried, because the blob had failed before")

#define BTH_DRIVE_STATES(X)                                                                    \
        X(SPECIFIED, "Specified", "the drive is named in a job and has not arrived")           \
        X(RECEIVED, "Received", "the drive has arrived")                                       \
        X(NEVER_RECEIVED, "NeverReceived", "the drive did not come")                           \
        X(TRANSFERRING, "Transferring", "the drive is being copied")                           \
        X(COMPLETED, "Completed", "everything on the drive was copied")                        \
        X(COMPLETED_MORE_INFO, "CompletedMoreInfo", "the copy ended; the log has more to say") \
        X(SHIPPED_BACK, "ShippedBack", "the drive has left the data centre")

#define BTH_JOB_STATES(X)                                                             \
        X(CREATING, "Creating", "the job is being put together")                      \
        X(SHIPPING, "Shipping", "the drives are on their way")                        \
        X(RECEIVED, "Received", "all drives have arrived")                            \
        X(TRANSFERRING, "Transferring", "drives are being copied")                    \
        X(PACKAGING, "Packaging", "all drives are done and are being packed")         \
        X(COMPLETED, "Completed", "the drives were sent back, everything was copied") \
        X(CLOSED, "Closed", "the drives were sent back, something was not copied")

/* Makes `enum bth_<name>` with bth_<name>_to_string(), _from_string() and _sentence(). */
#define BTH_DECLARE_STATUS(name, NAME, LIST)                        \
        enum bth_##name{                                            \
                LIST(BTH_STATUS_ENUM_##NAME) _BTH_##NAME##_MAX,     \
                _BTH_##NAME##_INVALID = -EINVAL,                    \
        };                                                          \
        const char *bth_##name##_to_string(enum bth_##name v);      \
        enum bth_##name bth_##name##_from_string(const char *text); \
        const char *bth_##name##_sentence(enum bth_##name v)

#define BTH_STATUS_ENUM_DRIVE_STATUS(id, t, s)       BTH_DRIVE_STATUS_##id,
#define BTH_STATUS_ENUM_BLOB_STATUS(id, t, s)        BTH_BLOB_STATUS_##id,
#define BTH_STATUS_ENUM_DISPOSITION(id, t, s)        BTH_DISPOSITION_##id,
#define BTH_STATUS_ENUM_DISPOSITION_STATUS(id, t, s) BTH_DISPOSITION_STATUS_##id,
#define BTH_STATUS_ENUM_RANGE_STATUS(id, t, s)       BTH_RANGE_STATUS_##id,
#define BTH_STATUS_ENUM_SIDECAR_STATUS(id, t, s)     BTH_SIDECAR_STATUS_##id,
#define BTH_STATUS_ENUM_DRIVE_STATE(id, t, s)        BTH_DRIVE_STATE_##id,
#define BTH_STATUS_ENUM_JOB_STATE(id, t, s)          BTH_JOB_STATE_##id,

/* For each: _to_string gives the service's exact text, NULL outside the list; _from_string compares
 * exactly and gives _INVALID (-EINVAL) for NULL or an unknown text; _sentence gives "" outside the
 * list. */
BTH_DECLARE_STATUS(drive_status, DRIVE_STATUS, BTH_DRIVE_STATUSES);
BTH_DECLARE_STATUS(blob_status, BLOB_STATUS, BTH_BLOB_STATUSES);
BTH_DECLARE_STATUS(disposition, DISPOSITION, BTH_DISPOSITIONS);
BTH_DECLARE_STATUS(disposition_status, DISPOSITION_STATUS, BTH_DISPOSITION_STATUSES);
BTH_DECLARE_STATUS(range_status, RANGE_STATUS, BTH_RANGE_STATUSES);
BTH_DECLARE_STATUS(sidecar_status, SIDECAR_STATUS, BTH_SIDECAR_STATUSES);
BTH_DECLARE_STATUS(drive_state, DRIVE_STATE, BTH_DRIVE_STATES);
BTH_DECLARE_STATUS(job_state, JOB_STATE, BTH_JOB_STATES);
