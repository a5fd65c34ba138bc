"use strict";
// Draws points on a canvas: on the GPU by WebGL, or by the processor where a browser has none.
// A view is [scale x, scale y, shift x, shift y], from positions in 0..1 to -1..1, left to right and bottom to top.
const VERTEX_SHADER = `
attribute vec2 position;
attribute vec4 shade;
uniform vec4 view;
uniform mediump float size;
varying lowp vec4 paint;
void main() {
  gl_Position = vec4(position * view.xy + view.zw, 0.0, 1.0);
  gl_PointSize = size;
  paint = shade;
}`;
const FRAGMENT_SHADER = `
precision mediump float;
uniform mediump float size;
varying lowp vec4 paint;
void main() {
  vec2 apart = gl_PointCoord - 0.5;
  gl_FragColor = paint * clamp((0.25 - dot(apart, apart)) * size + 0.5, 0.0, 1.0);
}`;

/** A painter with `place(positions)`, `shade(colours)` and `draw(view, size, first, count)`: `count` points from the
 *  `first` on, over those that are there, and from 0 on anew. */
function pointPainter(canvas) {
  const gl = canvas.getContext("webgl", { antialias: false, depth: false, premultipliedAlpha: true, preserveDrawingBuffer: true });
  return gl ? gpuPainter(gl) : processorPainter(canvas);
}

function gpuPainter(gl) {
  const columns = { position: [2, gl.UNSIGNED_SHORT], shade: [4, gl.UNSIGNED_BYTE] };
  const kept = {};
  let program, uniforms;

  function begin() {
    program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX_SHADER], [gl.FRAGMENT_SHADER, FRAGMENT_SHADER]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    gl.useProgram(program);
    uniforms = { view: gl.getUniformLocation(program, "view"), size: gl.getUniformLocation(program, "size") };
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    for (const name of Object.keys(columns)) columns[name].buffer = gl.createBuffer();
    for (const [name, values] of Object.entries(kept)) fill(name, values);
  }

  function fill(name, values) {
    kept[name] = values;
    const [size, type] = columns[name];
    const at = gl.getAttribLocation(program, name);
    gl.bindBuffer(gl.ARRAY_BUFFER, columns[name].buffer);
    gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
    gl.enableVertexAttribArray(at);
    gl.vertexAttribPointer(at, size, type, true, 0, 0);
  }

  begin();
  // a browser takes the GPU away from pages that it is short of memory for, and gives it back
  gl.canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
  gl.canvas.addEventListener("webglcontextrestored", begin);
  return {
    onGpu: true,
    place: (positions) => fill("position", positions),
    shade: (colours) => fill("shade", colours.map((value, n) => (n % 4 === 3 ? value : (value * colours[n | 3]) / 255))),
    draw(view, size, first, count) {
      gl.viewport(0, 0, gl.canvas.width, gl.canvas.height);
      if (first === 0) gl.clear(gl.COLOR_BUFFER_BIT);
      gl.uniform4f(uniforms.view, ...view);
      gl.uniform1f(uniforms.size, size);
      gl.drawArrays(gl.POINTS, first, count);
    },
  };
}

function processorPainter(canvas) {
  const context = canvas.getContext("2d");
  let positions = [], colours = [];
  return {
    onGpu: false,
    place: (values) => { positions = values; },
    shade: (values) => { colours = values; },
    draw([scaleX, scaleY, shiftX, shiftY], size, first, count) {
      const { width, height } = canvas;
      if (first === 0) context.clearRect(0, 0, width, height);
      for (let n = first; n < first + count; n += 1) {
        const x = (1 + (positions[2 * n] / 65535) * scaleX + shiftX) * 0.5 * width;
        const y = (1 - (positions[2 * n + 1] / 65535) * scaleY - shiftY) * 0.5 * height;
        if (x < -size || y < -size || x > width + size || y > height + size) continue;
        context.fillStyle = `rgb(${colours[4 * n]} ${colours[4 * n + 1]} ${colours[4 * n + 2]} / ${colours[4 * n + 3] / 255})`;
        context.fillRect(x - size / 2, y - size / 2, size, size);
      }
    },
  };
}
