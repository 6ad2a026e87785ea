"""Uses the S3 server as programs written with boto3 do. Arguments: endpoint, bucket. Credentials: the environment."""
import base64
import datetime
import hashlib
import io
import os
import sys
import urllib.request
import zlib

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError


def expect_error(code, call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        found = error.response["Error"]["Code"]
        assert found == code, (found, code)
        return
    raise AssertionError(f"{code} was expected")


def basics(s3, bucket):
    s3.create_bucket(Bucket=bucket)
    expect_error("BucketAlreadyOwnedByYou", s3.create_bucket, Bucket=bucket)
    assert bucket in [one["Name"] for one in s3.list_buckets()["Buckets"]]
    s3.head_bucket(Bucket=bucket)
    assert s3.get_bucket_location(Bucket=bucket).get("LocationConstraint") is None
    for key in ["plain", "a b/c+d", "ünï/ß", "x/%41", "tab\tkey", "'\"<&>"]:
        body = key.encode() * 100
        put = s3.put_object(Bucket=bucket, Key=key, Body=body, Metadata={"note": "yes"}, ContentType="text/x-test")
        assert put["ETag"].strip('"') == hashlib.md5(body).hexdigest()
        got = s3.get_object(Bucket=bucket, Key=key)
        assert got["Body"].read() == body
        assert got["Metadata"] == {"note": "yes"} and got["ContentType"] == "text/x-test"
        assert abs(got["LastModified"] - datetime.datetime.now(datetime.timezone.utc)).total_seconds() < 600
    for body in [b"", b"after an empty one", b"", b"and again"]:
        s3.put_object(Bucket=bucket, Key="file", Body=io.BytesIO(body))
        assert s3.get_object(Bucket=bucket, Key="file")["Body"].read() == body
    part = s3.get_object(Bucket=bucket, Key="plain", Range="bytes=5-9")
    assert part["Body"].read() == b"plain" and part["ContentRange"] == "bytes 5-9/500", part
    assert s3.get_object(Bucket=bucket, Key="plain", Range="bytes=-3")["Body"].read() == b"ain"
    expect_error("InvalidRange", s3.get_object, Bucket=bucket, Key="plain", Range="bytes=500-")
    expect_error("NoSuchKey", s3.get_object, Bucket=bucket, Key="none")
    expect_error("404", s3.head_object, Bucket=bucket, Key="none")
    expect_error("NoSuchBucket", s3.list_objects_v2, Bucket="no-such-bucket")
    expect_error("304", s3.get_object, Bucket=bucket, Key="plain",
                 IfNoneMatch=s3.head_object(Bucket=bucket, Key="plain")["ETag"])
    expect_error("PreconditionFailed", s3.get_object, Bucket=bucket, Key="plain", IfMatch='"x"')
    for algorithm in ["CRC32", "SHA1", "SHA256"]:
        s3.put_object(Bucket=bucket, Key="summed", Body=b"sum me", ChecksumAlgorithm=algorithm)
        head = s3.head_object(Bucket=bucket, Key="summed", ChecksumMode="ENABLED")
        assert head.get("Checksum" + algorithm), head
    expect_error("BadDigest", s3.put_object, Bucket=bucket, Key="bad", Body=b"x", ContentMD5="1B2M2Y8AsgTpgAmY7PhCfg==")
    expect_error("NoSuchKey", s3.get_object, Bucket=bucket, Key="bad")


def with_headers(s3, operation, method, headers):
    """The method with headers for which boto3's own parameters are younger than Debian 12."""
    def call(**arguments):
        def add(params, **_):
            params["headers"].update(headers)
        event = f"before-call.s3.{operation}"
        s3.meta.events.register(event, add)
        try:
            return method(**arguments)
        finally:
            s3.meta.events.unregister(event, add)
    return call


def conditional(s3, operation, header):
    method = {"PutObject": s3.put_object, "DeleteObject": s3.delete_object}[operation]
    return lambda condition, **arguments: with_headers(s3, operation, method, {header: condition})(**arguments)


def conditions(s3, bucket):
    put_if_none_match = conditional(s3, "PutObject", "If-None-Match")
    put_if_match = conditional(s3, "PutObject", "If-Match")
    delete_if_match = conditional(s3, "DeleteObject", "If-Match")
    once = {"Bucket": bucket, "Key": "once"}
    first = put_if_none_match("*", **once, Body=b"1")
    expect_error("PreconditionFailed", put_if_none_match, condition="*", **once, Body=b"2")
    put_if_match(first["ETag"], **once, Body=b"3")
    expect_error("PreconditionFailed", put_if_match, condition=first["ETag"], **once, Body=b"4")
    assert s3.get_object(Bucket=bucket, Key="once")["Body"].read() == b"3"
    expect_error("PreconditionFailed", delete_if_match, condition='"other"', **once)
    expect_error("AccessControlListNotSupported", s3.put_object, Bucket=bucket, Key="open", Body=b"", ACL="public-read")
    s3.put_object(Bucket=bucket, Key="open", Body=b"", ACL="private")


def lists(s3, bucket):
    names = [f"list/{folder}/{number:04}" for folder in ["a", "b c", "é"] for number in range(400)]
    for name in names:
        s3.put_object(Bucket=bucket, Key=name, Body=b"")
    for operation in ["list_objects_v2", "list_objects"]:
        pages = s3.get_paginator(operation).paginate(Bucket=bucket, Prefix="list/", PaginationConfig={"PageSize": 7})
        found = [one["Key"] for page in pages for one in page.get("Contents", [])]
        assert found == sorted(names, key=lambda name: name.encode()), operation
        pages = s3.get_paginator(operation).paginate(Bucket=bucket, Prefix="list/", Delimiter="/",
                                                     PaginationConfig={"PageSize": 1})
        found = [one["Prefix"] for page in pages for one in page.get("CommonPrefixes", [])]
        assert found == ["list/a/", "list/b c/", "list/é/"], (operation, found)
    after = s3.list_objects_v2(Bucket=bucket, Prefix="list/a/", StartAfter="list/a/0397")
    assert [one["Key"] for one in after["Contents"]] == ["list/a/0398", "list/a/0399"]
    deleted = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": name} for name in names[:1000]]})
    assert len(deleted["Deleted"]) == 1000
    assert s3.list_objects_v2(Bucket=bucket, Prefix="list/")["KeyCount"] == 200




def settings(s3, bucket):
    """What is never set is not there, and taking it away takes nothing else away."""
    s3.create_bucket(Bucket="settings-bucket")
    expect_error("NoSuchLifecycleConfiguration", s3.get_bucket_lifecycle_configuration, Bucket="settings-bucket")
    s3.delete_bucket_lifecycle(Bucket="settings-bucket")
    s3.delete_bucket_policy(Bucket="settings-bucket")
    s3.head_bucket(Bucket="settings-bucket")
    s3.put_object(Bucket="settings-bucket", Key="a/b", Body=b"1")
    versions = s3.list_object_versions(Bucket="settings-bucket")["Versions"]
    assert [(one["Key"], one["VersionId"], one["IsLatest"]) for one in versions] == [("a/b", "null", True)]
    assert s3.get_object(Bucket="settings-bucket", Key="a/b", VersionId="null")["Body"].read() == b"1"
    expect_error("NoSuchVersion", s3.get_object, Bucket="settings-bucket", Key="a/b", VersionId="1")
    objects = [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in versions]
    assert "Errors" not in s3.delete_objects(Bucket="settings-bucket", Delete={"Objects": objects})
    s3.delete_bucket(Bucket="settings-bucket")


def copies(s3, bucket):
    s3.put_object(Bucket=bucket, Key="source", Body=b"copy me", Metadata={"a": "b"})
    s3.copy_object(Bucket=bucket, Key="copy/of it", CopySource={"Bucket": bucket, "Key": "source"})
    got = s3.get_object(Bucket=bucket, Key="copy/of it")
    assert got["Body"].read() == b"copy me" and got["Metadata"] == {"a": "b"}
    s3.copy_object(Bucket=bucket, Key="copy/of it", CopySource={"Bucket": bucket, "Key": "source"},
                   MetadataDirective="REPLACE", Metadata={"c": "d"})
    assert s3.head_object(Bucket=bucket, Key="copy/of it")["Metadata"] == {"c": "d"}


def multipart(s3, bucket):
    body = os.urandom(23 * 1024 * 1024 + 5)
    s3.upload_fileobj(io.BytesIO(body), bucket, "big", ExtraArgs={"Metadata": {"big": "1"}},
                      Config=boto3.s3.transfer.TransferConfig(multipart_threshold=8 << 20, multipart_chunksize=8 << 20))
    head = s3.head_object(Bucket=bucket, Key="big")
    assert head["ETag"].endswith('-3"') and head["Metadata"] == {"big": "1"}
    out = io.BytesIO()
    s3.download_fileobj(bucket, "big", out)
    assert out.getvalue() == body
    upload = s3.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"]
    small = [s3.upload_part(Bucket=bucket, Key="parts", UploadId=upload, PartNumber=n, Body=b"x")["ETag"] for n in (1, 2)]
    assert len(s3.list_parts(Bucket=bucket, Key="parts", UploadId=upload)["Parts"]) == 2
    assert [one["UploadId"] for one in s3.list_multipart_uploads(Bucket=bucket)["Uploads"]] == [upload]
    parts = [{"PartNumber": n + 1, "ETag": etag} for n, etag in enumerate(small)]
    expect_error("EntityTooSmall", s3.complete_multipart_upload, Bucket=bucket, Key="parts", UploadId=upload,
                 MultipartUpload={"Parts": parts})
    expect_error("InvalidPart", s3.complete_multipart_upload, Bucket=bucket, Key="parts", UploadId=upload,
                 MultipartUpload={"Parts": [{"PartNumber": 9, "ETag": "x"}]})
    s3.abort_multipart_upload(Bucket=bucket, Key="parts", UploadId=upload)
    expect_error("NoSuchUpload", s3.list_parts, Bucket=bucket, Key="parts", UploadId=upload)


def multipart_checksums(s3, bucket):
    """What completes an upload names the checksum of the object: of its parts' checksums, or of its bytes."""
    def base64_of(digest):
        return base64.b64encode(digest).decode()

    bodies = [os.urandom(5 << 20), b"the end"]
    digests = [hashlib.sha256(body).digest() for body in bodies]
    composite = base64_of(hashlib.sha256(b"".join(digests)).digest())
    whole = base64_of(zlib.crc32(b"".join(bodies)).to_bytes(4, "big"))
    of_parts = {"x-amz-checksum-sha256": composite}
    of_bytes = {"x-amz-checksum-crc32": whole, "x-amz-checksum-type": "FULL_OBJECT"}
    for headers, kept in [(of_parts, {"ChecksumSHA256": composite + "-2"}), (of_bytes, {"ChecksumCRC32": whole})]:
        upload = {"Bucket": bucket, "Key": "summed parts"}
        upload["UploadId"] = s3.create_multipart_upload(**upload, ChecksumAlgorithm="SHA256")["UploadId"]
        parts = [{"PartNumber": number, "ChecksumSHA256": base64_of(digest),
                  "ETag": s3.upload_part(**upload, PartNumber=number, Body=body, ChecksumAlgorithm="SHA256")["ETag"]}
                 for number, (body, digest) in enumerate(zip(bodies, digests), 1)]

        def complete(headers, parts=parts):
            method = with_headers(s3, "CompleteMultipartUpload", s3.complete_multipart_upload, headers)
            return method(**upload, MultipartUpload={"Parts": parts})

        for error, wrong in [("BadDigest", {"x-amz-checksum-sha256": composite + "-3"}),
                             ("BadDigest", {"x-amz-checksum-sha256": base64_of(digests[0])}),
                             ("BadDigest", of_bytes | {"x-amz-checksum-crc32": "AAAAAA=="}),
                             ("InvalidRequest", {"x-amz-checksum-crc32": whole})]:
            expect_error(error, complete, headers=wrong)
        expect_error("InvalidPart", complete, headers={}, parts=[parts[0] | {"ChecksumSHA256": composite}, parts[1]])
        complete(headers)
        head = s3.head_object(Bucket=bucket, Key="summed parts", ChecksumMode="ENABLED")
        assert {name: value for name, value in head.items() if name in ("ChecksumSHA256", "ChecksumCRC32")} == kept, head


def part_copies(s3, bucket):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="copied")["UploadId"]
    parts = []
    for number, span in enumerate(["bytes=0-8388607", "bytes=8388608-8388618"], 1):
        copied = s3.upload_part_copy(Bucket=bucket, Key="copied", UploadId=upload, PartNumber=number,
                                     CopySource={"Bucket": bucket, "Key": "big"}, CopySourceRange=span)
        parts.append({"PartNumber": number, "ETag": copied["CopyPartResult"]["ETag"]})
    complete = {"Bucket": bucket, "Key": "copied", "UploadId": upload, "MultipartUpload": {"Parts": parts}}
    s3.complete_multipart_upload(**complete)
    big = s3.get_object(Bucket=bucket, Key="big")["Body"].read()
    assert s3.get_object(Bucket=bucket, Key="copied")["Body"].read() == big[:8388619]


def presigned(s3, bucket):
    put = s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "by url"}, ExpiresIn=60)
    urllib.request.urlopen(urllib.request.Request(put, data=b"by url", method="PUT", headers={"Content-Type": ""})).read()
    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "by url"}, ExpiresIn=60)
    assert urllib.request.urlopen(url).read() == b"by url"
    try:
        urllib.request.urlopen(url.replace("by%20url", "plain"))
    except urllib.error.HTTPError as error:
        assert error.code == 403, error.code
    else:
        raise AssertionError("a signature for another key was accepted")


def strangers(endpoint, bucket):
    wrong = boto3.client("s3", endpoint_url=endpoint, aws_access_key_id=os.environ["AWS_ACCESS_KEY_ID"],
                         aws_secret_access_key="wrong")
    expect_error("SignatureDoesNotMatch", wrong.list_objects_v2, Bucket=bucket)
    unknown = boto3.client("s3", endpoint_url=endpoint, aws_access_key_id="nobody", aws_secret_access_key="wrong")
    expect_error("InvalidAccessKeyId", unknown.list_objects_v2, Bucket=bucket)


def main():
    endpoint, bucket = sys.argv[1:]
    # Without retries, with which it would wait for a BadDigest to go away.
    s3 = boto3.client("s3", endpoint_url=endpoint, config=Config(signature_version="s3v4", retries={"max_attempts": 0}))
    basics(s3, bucket)
    conditions(s3, bucket)
    lists(s3, bucket)
    settings(s3, bucket)
    copies(s3, bucket)
    multipart(s3, bucket)
    multipart_checksums(s3, bucket)
    part_copies(s3, bucket)
    presigned(s3, bucket)
    strangers(endpoint, bucket)
    print("all of it worked")


main()
