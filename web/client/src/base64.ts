// Base64 of bytes, in browsers and in Node alike.

export function base64(bytes: Uint8Array): string {
  let binary = "";
  const STEP = 0x8000; // an argument list has an end
  for (let i = 0; i < bytes.length; i += STEP) binary += String.fromCharCode(...bytes.subarray(i, i + STEP));
  return btoa(binary);
}
