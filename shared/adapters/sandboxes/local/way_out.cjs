// Runs a command in a sandbox without network whose way out is a proxy at a socket: what comes to a port in here is
// handed on to it. Arguments: the socket, the port, the command. Ends as the command does.
const { spawn } = require("node:child_process");
const { connect, createServer } = require("node:net");
const { constants } = require("node:os");

const [socket, port, program, ...rest] = process.argv.slice(1);

const server = createServer({ allowHalfOpen: true }, (inside) => {
  const outside = connect({ path: socket, allowHalfOpen: true });
  inside.on("error", () => outside.destroy());
  outside.on("error", () => inside.destroy());
  inside.pipe(outside).pipe(inside);
});

server.listen(Number(port), "127.0.0.1", () => {
  const command = spawn(program, rest, { stdio: "inherit" });
  command.on("exit", (code, signal) => process.exit(code ?? 128 + constants.signals[signal]));
});

process.on("SIGTERM", () => {}); // the command gets it too, and may take its time
