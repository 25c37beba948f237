/* SPDX-License-Identifier: GPL-3.0-or-later */
/* manifest-finding - everything that can be wrong or doubtful about a drive manifest, by name.
 * Names are part of JSON output and never change their meaning. Any thread.
 * Source: import-export specification 2.11, and 2.2 to 2.10 for what the list there implies. */
#pragma once

#include "media/finding.h"

/* X(identifier, name, severity, sentence, advice): names are stable. */
#define MED_MANIFEST_FINDINGS(X)                                                                   \
        X(NOT_A_MANIFEST, "not-a-manifest", ERROR, "the root element is not DriveManifest",        \
          "give the manifest of the drive")                                                        \
        X(VERSION_MISSING, "version-missing", ERROR, "DriveManifest has no Version",               \
          "add Version='2014-11-01'")                                                              \
        X(DRIVE_MISSING, "drive-missing", ERROR, "there is no Drive element",                      \
          "prepare the drive again")                                                               \
        X(SEVERAL_DRIVES, "several-drives", ERROR, "there is more than one Drive element",         \
          "write one manifest for each drive")                                                     \
        X(DRIVE_ID_MISSING, "drive-id-missing", ERROR, "there is no DriveId",                      \
          "add the serial number of the drive")                                                    \
        X(DRIVE_ID_MISMATCH, "drive-id-mismatch", ERROR,                                           \
          "DriveId is not the serial number of this drive",                                        \
          "check that manifest and drive belong together")                                         \
        X(BLOB_LIST_MISSING, "blob-list-missing", ERROR, "there is no BlobList",                   \
          "prepare the drive again")                                                               \
        X(TWO_CREDENTIALS, "two-credentials", ERROR,                                               \
          "there are both StorageAccountKey and ContainerSas", "keep one of the two")              \
        X(ELEMENT_TWICE, "element-twice", ERROR, "an element is there twice",                      \
          "keep the right one of the two")                                                         \
        X(TEXT_TOO_LONG, "text-too-long", ERROR, "a text is too long",                             \
          "shorten it to 64 KiB; a credential to 4 KiB")                                           \
        X(BLOB_PATH_MISSING, "blob-path-missing", ERROR, "the entry has no BlobPath",              \
          "add the container and name of the blob")                                                \
        X(FILE_PATH_MISSING, "file-path-missing", ERROR, "the entry has no FilePath",              \
          "add the path of the file on the drive")                                                 \
        X(LENGTH_MISSING, "length-missing", ERROR, "the entry has no Length",                      \
          "add the length in bytes")                                                               \
        X(NUMBER_INVALID, "number-invalid", ERROR, "a number is not a number of 64 bits",          \
          "write decimal digits only")                                                             \
        X(ATTRIBUTE_MISSING, "attribute-missing", ERROR, "an attribute is missing",                \
          "add the named attribute")                                                               \
        X(TWO_RANGE_LISTS, "two-range-lists", ERROR, "the entry has more than one list of ranges", \
          "keep BlockList for a block blob, PageRangeList for a page blob")                        \
        X(NO_RANGE_LIST, "no-range-list", ERROR,                                                   \
          "the entry has neither BlockList nor PageRangeList",                                     \
          "add BlockList for a block blob, PageRangeList for a page blob")                         \
        X(RANGE_NOT_ORDERED, "range-not-ordered", ERROR, "the ranges are not ordered by offset",   \
          "sort them by Offset")                                                                   \
        X(RANGE_OVERLAP, "range-overlap", ERROR, "two ranges overlap",                             \
          "make every byte part of one range only")                                                \
        X(RANGE_TOO_LONG, "range-too-long", ERROR, "a range is too long",                          \
          "cut it into ranges of at most 4194304 bytes")                                           \
        X(RANGE_EMPTY, "range-empty", ERROR, "a range has no bytes", "leave it out")               \
        X(RANGE_PAST_END, "range-past-end", ERROR, "a range ends behind the Length of the blob",   \
          "correct Length or the range")                                                           \
        X(PAGE_RANGE_UNALIGNED, "page-range-unaligned", ERROR,                                     \
          "offset and length of a page range must be multiples of 512",                            \
          "align the range to 512 bytes")                                                          \
        X(PAGE_LENGTH_UNALIGNED, "page-length-unaligned", ERROR,                                   \
          "the Length of a page blob must be a multiple of 512",                                   \
          "pad the file to 512 bytes or make it a block blob")                                     \
        X(PAGE_BLOB_TOO_LONG, "page-blob-too-long", ERROR, "a page blob has at most 8 TiB",        \
          "split the file")                                                                        \
        X(TOO_MANY_RANGES, "too-many-ranges", ERROR, "the entry has more than 2097152 ranges",     \
          "use longer ranges or split the file")                                                   \
        X(TOO_MANY_BLOCKS, "too-many-blocks", ERROR, "a blob has more than 50000 blocks",          \
          "use longer blocks or split the file")                                                   \
        X(BLOCK_GAP, "block-gap", ERROR,                                                           \
          "there is a gap between blocks, which must be contiguous from 0",                        \
          "list every byte of the file in one block")                                              \
        X(BLOCK_SUM, "block-sum", ERROR, "the blocks do not add up to the Length of the blob",     \
          "correct Length or the blocks")                                                          \
        X(BLOCK_IDS_INCOMPLETE, "block-ids-incomplete", ERROR,                                     \
          "some blocks have an Id and some have none", "give an Id to all blocks or to none")      \
        X(BLOCK_ID_LENGTHS, "block-id-lengths", ERROR, "block ids differ in length",               \
          "use ids of equal length in a blob")                                                     \
        X(BLOCK_ID_INVALID, "block-id-invalid", ERROR,                                             \
          "a block id is not base64 of 1 to 64 bytes", "encode the id with base64")                \
        X(BLOCK_ID_REUSED, "block-id-reused", ERROR,                                               \
          "two blocks of different content have the same id", "give each its own id")              \
        X(HASH_INVALID, "hash-invalid", ERROR, "a hash is not 32 hexadecimal digits",              \
          "write the MD5 of these bytes as 32 hexadecimal digits")                                 \
        X(DISPOSITION_UNKNOWN, "disposition-unknown", ERROR, "ImportDisposition is unknown",       \
          "write rename, no-overwrite or overwrite, in lower case")                                \
        X(CONTAINER_INVALID, "container-invalid", ERROR, "the container's name is not allowed",    \
          "use 3 to 63 lower-case letters, digits and single hyphens, or $root")                   \
        X(BLOB_NAME_MISSING, "blob-name-missing", ERROR,                                           \
          "BlobPath has no name behind the container", "write container/name, or $root/name")      \
        X(ROOT_BLOB_SLASH, "root-blob-slash", ERROR,                                               \
          "a blob in $root must not have '/' in its name", "use another container or name")        \
        X(BLOB_OUTSIDE_CONTAINER, "blob-outside-container", ERROR,                                 \
          "the blob is not in the container of ContainerSas",                                      \
          "put it there, or give the account's key instead")                                       \
        X(MANIFEST_HASH_MISMATCH, "manifest-hash-mismatch", ERROR,                                 \
          "the manifest does not have the hash of the journal",                                    \
          "check that journal and drive belong together; prepare the drive again")                 \
        X(CREDENTIAL_MISSING, "credential-missing", WARNING,                                       \
          "there is neither StorageAccountKey nor ContainerSas",                                   \
          "the newest tools leave it out; the station's own credential is used")                   \
        X(CREDENTIAL_DOUBTFUL, "credential-doubtful", WARNING, "the credential may not work",      \
          "check it with the storage account")                                                     \
        X(BLOB_PATH_TWICE, "blob-path-twice", WARNING,                                             \
          "the BlobPath was there before in this job",                                             \
          "check which file the blob shall have; the disposition decides")                         \
        X(FILE_PATH_TWICE, "file-path-twice", WARNING,                                             \
          "the FilePath was there before on this drive",                                           \
          "check that one file shall become two blobs")                                            \
        X(FILE_LONGER, "file-longer", WARNING, "the file on the drive is longer than Length",      \
          "check that the file did not grow; only Length bytes are copied")                        \
        X(PATH_LONG, "path-long", WARNING, "FilePath is longer than 256 characters",               \
          "some Windows programs cannot open it")                                                  \
        X(FILE_PATH_DOUBTFUL, "file-path-doubtful", WARNING,                                       \
          "FilePath is not a path Windows can open",                                               \
          "write \\folder\\name, from the root of the volume")                                     \
        X(DRIVE_ID_BLANKS, "drive-id-blanks", WARNING, "DriveId has blanks",                       \
          "write the serial number without blanks")                                                \
        X(DRIVE_ID_LATE, "drive-id-late", WARNING, "DriveId follows a BlobList",                   \
          "put DriveId first")                                                                     \
        X(LIST_DEFAULT_LATE, "list-default-late", WARNING,                                         \
          "MetadataPath or PropertiesPath of a BlobList follows its blobs",                        \
          "put it in front of the blobs; it holds for all of them")                                \
        X(UNKNOWN_ELEMENT, "unknown-element", WARNING, "an element is unknown here",               \
          "it is ignored with all it contains")                                                    \
        X(STRAY_TEXT, "stray-text", WARNING, "there is text between elements", "it is ignored")    \
        X(LOWER_CASE_HASH, "lower-case-hash", WARNING, "a hash has lower-case digits",             \
          "write A to F in upper case")                                                            \
        X(LARGE_BLOB_WITHOUT_IDS, "large-blob-without-ids", WARNING,                               \
          "a blob of more than 64 MiB has no block ids", "give each block an Id")                  \
        X(BLOCK_ID_NOT_HASH, "block-id-not-hash", WARNING,                                         \
          "a block id of the form MD5/… does not fit the block's hash",                            \
          "make the manifest again from the files")                                                \
        X(DISPOSITION_ABSENT, "disposition-absent", WARNING, "there is no ImportDisposition",      \
          "the station's default is used; older tools meant rename, newer ones overwrite")         \
        X(BLOB_NAME_DOUBTFUL, "blob-name-doubtful", WARNING,                                       \
          "clients may get the blob's name wrong", "choose another name if it can be")             \
        X(BLOB_NAME_LONG, "blob-name-long", WARNING,                                               \
          "the blob's name has more than 1024 characters", "shorten it; the service refuses it")   \
        X(BEYOND_2014_FORMAT, "beyond-2014-format", WARNING, "this is beyond the format of 2014",  \
          "only newer services and tools accept it")                                               \
        X(IMPORT_ONLY, "import-only", WARNING, "this element has no place in an export manifest",  \
          "it is ignored")                                                                         \
        X(EXPORT_ONLY, "export-only", WARNING, "this element has no place in an import manifest",  \
          "it is ignored")                                                                         \
        X(EXPORT_SUM, "export-sum", WARNING,                                                       \
          "the exported blocks do not add up to the Length of the blob",                           \
          "compare the file with the blob")                                                        \
        X(AZURE_FILE, "azure-file", WARNING,                                                       \
          "this is an entry for Azure Files, whose format was never published",                    \
          "it is read as the logs of 2018 suggest; check the result")                              \
        X(EMPTY_RANGE_DROPPED, "empty-range-dropped", WARNING,                                     \
          "an empty blob has a range without bytes", "the range is ignored")

enum med_manifest_finding {
#define X(id, name, severity, sentence, advice) MED_MANIFEST_FINDING_##id,
        MED_MANIFEST_FINDINGS(X)
#undef X
                _MED_MANIFEST_FINDING_MAX,
        _MED_MANIFEST_FINDING_INVALID = -EINVAL,
};

/* Of a value outside the list: NULL, _INVALID, _SEVERITY_INVALID, "", "". */
const char *med_manifest_finding_to_string(enum med_manifest_finding f);
enum med_manifest_finding med_manifest_finding_from_string(const char *name);
enum med_severity med_manifest_finding_severity(enum med_manifest_finding f);
const char *med_manifest_finding_sentence(enum med_manifest_finding f);
const char *med_manifest_finding_advice(enum med_manifest_finding f);

/* Reports one finding through `to` (may be NULL): its sentence, ": " and the formatted detail. The
 * detail may be "". */
void med_manifest_report(const struct med_findings *to, enum med_manifest_finding f, uint64_t line,
                         const char *blob, const char *format, ...) _printf_(5, 6);
