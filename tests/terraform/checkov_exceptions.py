"""What checkov finds and we leave as it is: the check, which resources it may be about, and why.

A finding that is not listed fails the test, and so does an exception that nothing needs any more.
"""

EXCEPTIONS = {
    "CKV_AWS_136": (
        r"aws_ecr_repository\.published",
        "ECR encrypts everything with AES-256 by itself. A key of one's own adds a policy for every puller, "
        "and the images hold no secrets.",
    ),
    "CKV2_AWS_34": (
        r"aws_ssm_parameter\.tenant",
        "ARNs, a tier and a status: no secrets. SecureString would add a decryption to each read of the registry.",
    ),
}
