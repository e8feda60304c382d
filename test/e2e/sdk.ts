// The AWS SDK on a test cluster, with its defaults.
import { S3Client } from "@aws-sdk/client-s3";
import { type DevFile } from "./dev-cluster.ts";

export function sdkClient(dev: DevFile): S3Client {
  return new S3Client({
    endpoint: dev.endpoint,
    region: dev.region,
    forcePathStyle: true,
    credentials: { accessKeyId: dev.accessKeyId, secretAccessKey: dev.secretAccessKey },
  });
}
