"""Amazon Bedrock's ConverseStream API: JSON events in frames of AWS's own."""
