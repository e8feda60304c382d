# What a Python program does with boto3. Prints what it saw as JSON; boto3.test.ts judges it.
# usage: boto3-client.py ENDPOINT FOLDER, keys and region in the environment; writes FOLDER/got from FOLDER/big.
import io
import json
import sys
import urllib.request

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

endpoint, folder = sys.argv[1:]
# One try each: a retry would hide an error of the server.
config = Config(
    retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}, signature_version="s3v4"
)
s3 = boto3.client("s3", endpoint_url=endpoint, config=config)
parts = TransferConfig(multipart_threshold=8 << 20, multipart_chunksize=5 << 20, max_concurrency=4)
saw = {"boto3": boto3.__version__}


def code_of(work):
    try:
        work()
    except ClientError as error:
        return error.response["Error"]["Code"]
    return "no error"


s3.create_bucket(Bucket="by-boto3")
at = {"Bucket": "by-boto3"}
s3.upload_file(f"{folder}/big", "by-boto3", "big", Config=parts)
s3.download_file("by-boto3", "big", f"{folder}/got", Config=parts)
saw["bigTag"] = s3.head_object(**at, Key="big")["ETag"]

s3.put_object(**at, Key="a/ü +%", Body=b"content", ContentType="text/x-test", Metadata={"colour": "green"})
got = s3.get_object(**at, Key="a/ü +%")
saw["got"] = [got["Body"].read().decode(), got["ContentType"], got["Metadata"]]
saw["range"] = s3.get_object(**at, Key="a/ü +%", Range="bytes=1-3")["Body"].read().decode()
s3.upload_fileobj(io.BytesIO(b"streamed"), "by-boto3", "a/stream")
saw["missing"] = code_of(lambda: s3.get_object(**at, Key="nowhere"))
saw["notModified"] = code_of(lambda: s3.get_object(**at, Key="a/ü +%", IfNoneMatch=got["ETag"]))
saw["precondition"] = code_of(lambda: s3.get_object(**at, Key="a/ü +%", IfMatch='"0"'))
s3.copy_object(**at, Key="a/copy", CopySource={**at, "Key": "a/ü +%"})
s3.copy({**at, "Key": "big"}, "by-boto3", "big-copy", Config=parts)
saw["copies"] = [s3.head_object(**at, Key=key)["ContentLength"] for key in ("a/copy", "big-copy")]

for algorithm in ("CRC32", "SHA1", "SHA256"):
    put = s3.put_object(**at, Key=f"sum/{algorithm}", Body=b"content", ChecksumAlgorithm=algorithm)
    head = s3.head_object(**at, Key=f"sum/{algorithm}", ChecksumMode="ENABLED")
    saw[algorithm] = [put[f"Checksum{algorithm}"], head[f"Checksum{algorithm}"]]

url = s3.generate_presigned_url("put_object", Params={**at, "Key": "a/presigned"}, ExpiresIn=60)
urllib.request.urlopen(urllib.request.Request(url, data=b"for you", method="PUT", headers={"content-type": ""}))
url = s3.generate_presigned_url("get_object", Params={**at, "Key": "a/presigned"}, ExpiresIn=60)
saw["presigned"] = urllib.request.urlopen(url).read().decode()

pages = s3.get_paginator("list_objects_v2").paginate(**at, PaginationConfig={"PageSize": 3})
keys = [item["Key"] for page in pages for item in page["Contents"]]
saw["keys"] = keys
deleted = s3.delete_objects(**at, Delete={"Objects": [{"Key": key} for key in keys]})
saw["deleted"] = len(deleted["Deleted"])
s3.delete_bucket(**at)
saw["gone"] = code_of(lambda: s3.list_objects_v2(**at))
print(json.dumps(saw))
