// Names a bucket may have (S3 user guide, "General purpose bucket naming rules").

const SHAPE = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/u;
const IP_ADDRESS = /^\d+\.\d+\.\d+\.\d+$/u;
const RESERVED_STARTS = ["xn--", "sthree-", "amzn-s3-demo-"];
const RESERVED_ENDS = ["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"];

export function isBucketName(name: string): boolean {
  return (
    SHAPE.test(name) &&
    !name.includes("..") &&
    !IP_ADDRESS.test(name) &&
    !RESERVED_STARTS.some((start) => name.startsWith(start)) &&
    !RESERVED_ENDS.some((end) => name.endsWith(end))
  );
}
